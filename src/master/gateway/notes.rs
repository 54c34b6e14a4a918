//! What only classic clients know of a file: when it expires, how they store it, and what is in
//! their dicts beside attributes. Pure, over a transaction.
//!
//! | table            | key                       | value                                     |
//! |------------------|---------------------------|-------------------------------------------|
//! | `classic`        | inode                     | [`Note`] in postcard's form, version first |
//! | `classic_expiry` | end in ms, inode          | nothing                                   |
//! | `classic_form`   | [`Habit`] and dialect, one byte | [`Layout`] or dialect, one byte     |
//! | `classic_list`   | inode, dialect, one byte  | [`ListForm`] and a dialect, a byte each   |
//! | `classic_deep`   | inode                     | the deep names in its list, in postcard's form, version first |
//!
//! Numbers are 64 bits, big-endian. In `classic_list`, inode 0 has what was last seen of a dialect.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::deep_names::DeepName;
use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::proto::classic::Dialect;
use crate::proto::form::Layout;
use crate::proto::path_list::ListForm;
use crate::store::{ReadTxn, Table, Txn};
use crate::types::{Attr, Ino, Name, ServerUrl};

/// Notes by inode.
const NOTES: Table = Table("classic");
/// Notes by the end of what they are about.
const EXPIRIES: Table = Table("classic_expiry");
/// The layout that clients of a dialect were last seen to use.
const FORMS: Table = Table("classic_form");

/// The form of a directory's list, by dialect.
const LISTS: Table = Table("classic_list");

/// Paths in a directory's list that are not directly in it.
const DEEP: Table = Table("classic_deep");

/// The tables of this module.
pub const TABLES: [Table; 5] = [NOTES, EXPIRIES, FORMS, LISTS, DEEP];

/// The inode under which a dialect's form is, for lists that no client of it has put.
const ANY: Ino = Ino(0);

/// The version of a note's encoding.
const VERSION: u8 = 2;

/// The version before, in which a note ends with `is_put`: what follows it is `None` then.
const VERSION_1: u8 = 1;
const SINCE_VERSION_1: [u8; 2] = [0, 0];

/// What is noted of an inode that a classic client has put.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it is gone, if ever.
    pub expiry: Option<Expiry>,
    /// The form in which its contents were put, with the dialect of the key.
    pub form: Option<(Dialect, Layout)>,
    /// The server that the client chose for its contents.
    pub server: Option<ServerUrl>,
    /// The staged value that its contents came from.
    pub taken: u64,
    /// The contents' version when they came from there.
    pub data_version: u64,
    /// Members of the dict that mean nothing here, as a pickled dict; empty without any.
    pub others: Bytes,
    /// Extended attributes that only a dict can hold, likewise.
    pub xattrs: Bytes,
    /// Of the root: it is there for classic clients.
    pub is_put: bool,
    /// The type on the wire that was chosen for the contents, for keys as in `form`.
    pub contents: Option<Dialect>,
    /// That of the dict, with the dialect of its key.
    pub dict: Option<(Dialect, Dialect)>,
}

/// When and where a file expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// The end.
    pub at: Timestamp,
    /// The version of the contents that expires: what is written later does not.
    pub data_version: u64,
    /// The directory and the name that expire: who gives a file another name wants to keep it.
    /// `None` for the root.
    pub place: Option<(Ino, Name)>,
}

impl Note {
    /// When the inode expires under this name, if it does.
    #[must_use]
    pub fn expires(&self, attr: &Attr, place: Option<(Ino, &Name)>) -> Option<Timestamp> {
        let expiry = self.expiry.as_ref()?;
        let own = expiry.place.as_ref().map(|(directory, name)| (*directory, name));
        (own == place && expiry.data_version == attr.data_version).then_some(expiry.at)
    }
}

/// The note about an inode.
///
/// # Errors
/// What the store says.
pub fn load(txn: &dyn ReadTxn, ino: Ino) -> Result<Option<Note>> {
    let Some(row) = txn.get(NOTES, &ino.0.to_be_bytes())? else { return Ok(None) };
    match row.split_first() {
        Some((&VERSION, note)) => postcard::from_bytes(note).map(Some).map_err(|_| damaged()),
        Some((&VERSION_1, note)) => {
            let note = [note, &SINCE_VERSION_1].concat();
            postcard::from_bytes(&note).map(Some).map_err(|_| damaged())
        }
        _ => Err(damaged()),
    }
}

/// Keeps the note about an inode, in the place of the one before.
///
/// # Errors
/// What the store says.
pub fn save(txn: &mut dyn Txn, ino: Ino, note: &Note) -> Result<()> {
    forget_note(txn, ino)?;
    let row = postcard::to_extend(note, vec![VERSION]).expect("notes have a binary form");
    txn.put(NOTES, &ino.0.to_be_bytes(), &row);
    if let Some(expiry) = &note.expiry {
        txn.put(EXPIRIES, &expiry_key(expiry.at, ino), &[]);
    }
    Ok(())
}

/// The same for what the sweep for expired files need not look at again.
///
/// # Errors
/// What the store says.
pub fn save_unlisted(txn: &mut dyn Txn, ino: Ino, note: &Note) -> Result<()> {
    save(txn, ino, note)?;
    if let Some(expiry) = &note.expiry {
        txn.delete(EXPIRIES, &expiry_key(expiry.at, ino));
    }
    Ok(())
}

/// Lists an expired directory again for the sweep, if it is one: the last name in it has gone.
///
/// # Errors
/// What the store says.
pub fn relist(txn: &mut dyn Txn, directory: Ino) -> Result<()> {
    if let Some(Note { expiry: Some(expiry), .. }) = load(txn, directory)? {
        txn.put(EXPIRIES, &expiry_key(expiry.at, directory), &[]);
    }
    Ok(())
}

/// Forgets an inode.
///
/// # Errors
/// What the store says.
pub fn forget(txn: &mut dyn Txn, ino: Ino) -> Result<()> {
    for dialect in [Dialect::String, Dialect::Binary] {
        txn.delete(LISTS, &list_key(ino, dialect));
    }
    txn.delete(DEEP, &ino.0.to_be_bytes());
    forget_note(txn, ino)
}

fn forget_note(txn: &mut dyn Txn, ino: Ino) -> Result<()> {
    let Some(note) = load(txn, ino)? else { return Ok(()) };
    if let Some(expiry) = note.expiry {
        txn.delete(EXPIRIES, &expiry_key(expiry.at, ino));
    }
    txn.delete(NOTES, &ino.0.to_be_bytes());
    Ok(())
}

/// Up to `limit` inodes whose end has come, those first whose end came first.
///
/// # Errors
/// What the store says.
pub fn expired(txn: &dyn ReadTxn, now: Timestamp, limit: usize) -> Result<Vec<Ino>> {
    let end = expiry_key(Timestamp(now.0.saturating_add(1)), Ino(0));
    let rows = txn.scan(EXPIRIES, &[], &end, limit)?;
    rows.into_iter()
        .map(|(key, _)| {
            let ino = key.get(8..).and_then(|ino| ino.try_into().ok()).ok_or_else(damaged)?;
            Ok(Ino(u64::from_be_bytes(ino)))
        })
        .collect()
}

/// Notes that clients of a dialect use a layout.
///
/// # Errors
/// What the store says.
pub fn learn(txn: &mut dyn Txn, dialect: Dialect, layout: Layout) -> Result<()> {
    if learned(txn, dialect)? != Some(layout) {
        txn.put(FORMS, &[dialect_byte(dialect)], &[layout_byte(layout)]);
    }
    Ok(())
}

/// The layout that clients of a dialect were last seen to use.
///
/// # Errors
/// What the store says.
pub fn learned(txn: &dyn ReadTxn, dialect: Dialect) -> Result<Option<Layout>> {
    let Some(row) = txn.get(FORMS, &[dialect_byte(dialect)])? else { return Ok(None) };
    let known = [Layout::Raw, Layout::Pickled].into_iter();
    let layout = known.into_iter().find(|layout| row.as_ref() == [layout_byte(*layout)]);
    layout.map(Some).ok_or_else(damaged)
}

/// What is learned of the clients of a dialect beside the layout of contents: the types on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Of contents, where they could be of either.
    Contents,
    /// Of dicts.
    Dict,
}

impl Habit {
    /// Keys of the table: those of layouts are the dialect alone.
    const fn key(self, dialect: Dialect) -> u8 {
        match self {
            Self::Contents => 2 + dialect_byte(dialect),
            Self::Dict => 4 + dialect_byte(dialect),
        }
    }
}

/// Notes that clients of a dialect send values of a type.
///
/// # Errors
/// What the store says.
pub fn learn_type(txn: &mut dyn Txn, habit: Habit, dialect: Dialect, sent: Dialect) -> Result<()> {
    if learned_type(txn, habit, dialect)? != Some(sent) {
        txn.put(FORMS, &[habit.key(dialect)], &[dialect_byte(sent)]);
    }
    Ok(())
}

/// The type of the values that clients of a dialect were last seen to send.
///
/// # Errors
/// What the store says.
pub fn learned_type(txn: &dyn ReadTxn, habit: Habit, dialect: Dialect) -> Result<Option<Dialect>> {
    let Some(row) = txn.get(FORMS, &[habit.key(dialect)])? else { return Ok(None) };
    dialect_in(&row).map(Some)
}

fn dialect_in(byte: &[u8]) -> Result<Dialect> {
    let known = [Dialect::String, Dialect::Binary].into_iter();
    known.into_iter().find(|dialect| byte == [dialect_byte(*dialect)]).ok_or_else(damaged)
}

/// The form in which clients of a dialect expect the list of a directory: that in which they put
/// it, else the one that they were last seen to use.
///
/// # Errors
/// What the store says.
pub fn list_form(txn: &dyn ReadTxn, ino: Ino, dialect: Dialect) -> Result<Option<SentList>> {
    match own_list_form(txn, ino, dialect)? {
        Some(form) => Ok(Some(form)),
        None => own_list_form(txn, ANY, dialect),
    }
}

/// The form in which clients of a dialect have put the list of this directory.
///
/// # Errors
/// What the store says.
pub fn own_list_form(txn: &dyn ReadTxn, ino: Ino, dialect: Dialect) -> Result<Option<SentList>> {
    let Some(row) = txn.get(LISTS, &list_key(ino, dialect))? else { return Ok(None) };
    let (form, sent) = row.split_first().ok_or_else(damaged)?;
    let known = LIST_FORMS.into_iter().find(|known| *form == list_form_byte(*known));
    Ok(Some((known.ok_or_else(damaged)?, dialect_in(sent)?)))
}

/// The form of a list, and the type on the wire of a pickled one.
pub type SentList = (ListForm, Dialect);

/// Notes the form in which a client of a dialect has put the list of a directory.
pub fn set_list_form(txn: &mut dyn Txn, ino: Ino, dialect: Dialect, (form, sent): SentList) {
    let row = [list_form_byte(form), dialect_byte(sent)];
    txn.put(LISTS, &list_key(ino, dialect), &row);
    // What is no list says nothing of lists.
    if form != ListForm::Other {
        txn.put(LISTS, &list_key(ANY, dialect), &row);
    }
}

/// The paths in a directory's list that are not directly in it.
///
/// # Errors
/// What the store says.
pub(super) fn deep_names(txn: &dyn ReadTxn, ino: Ino) -> Result<Vec<DeepName>> {
    let Some(row) = txn.get(DEEP, &ino.0.to_be_bytes())? else { return Ok(Vec::new()) };
    match row.split_first() {
        Some((&VERSION, names)) => postcard::from_bytes(names).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

/// Keeps them, in the place of those before.
pub(super) fn set_deep_names(txn: &mut dyn Txn, ino: Ino, names: &[DeepName]) {
    if names.is_empty() {
        txn.delete(DEEP, &ino.0.to_be_bytes());
        return;
    }
    let row = postcard::to_extend(names, vec![VERSION]).expect("paths have a binary form");
    txn.put(DEEP, &ino.0.to_be_bytes(), &row);
}

const LIST_FORMS: [ListForm; 5] =
    [ListForm::List, ListForm::Tuple, ListForm::Strings, ListForm::Binaries, ListForm::Other];

const fn list_form_byte(form: ListForm) -> u8 {
    match form {
        ListForm::List => 0,
        ListForm::Tuple => 1,
        ListForm::Strings => 2,
        ListForm::Binaries => 3,
        ListForm::Other => 4,
    }
}

fn list_key(ino: Ino, dialect: Dialect) -> [u8; 9] {
    let mut key = [dialect_byte(dialect); 9];
    key[..8].copy_from_slice(&ino.0.to_be_bytes());
    key
}

const fn dialect_byte(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::String => 0,
        Dialect::Binary => 1,
    }
}

const fn layout_byte(layout: Layout) -> u8 {
    match layout {
        Layout::Raw => 0,
        Layout::Pickled => 1,
    }
}

fn expiry_key(at: Timestamp, ino: Ino) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&at.0.to_be_bytes());
    key[8..].copy_from_slice(&ino.0.to_be_bytes());
    key
}

fn damaged() -> FsError {
    FsError::new(ErrorKind::Corrupt, "the notes about files of classic clients are damaged")
}

#[cfg(test)]
mod tests;
