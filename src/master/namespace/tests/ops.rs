//! Operations as data, so that random sequences of them can be run against several subjects: the
//! namespace, the model of it, and the file system of the machine.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::error::ErrorKind;
use crate::types::{
    Access, Attr, Credentials, FileKind, FileTime, Ino, Name, RenameMode, SetAttr, SetTime,
    XattrMode,
};

/// Something that operations can be done to.
pub(super) trait Subject {
    /// Does one, as one of the [`users`], at a time.
    fn apply(&mut self, who: &Credentials, op: &Op, now: FileTime) -> Outcome;

    /// The attributes of an inode, if it is there.
    fn state(&mut self, ino: Ino) -> Option<Attr>;
}

/// How an operation ended.
pub(super) type Outcome = Result<Answer, ErrorKind>;

/// What an operation answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Done,
    Attr(Attr),
    Created(Attr, bool),
    Entries(Vec<(Name, Ino, FileKind)>),
    Value(Bytes),
    Keys(Vec<Bytes>),
    Offset(u64),
}

/// A name in a directory.
pub(super) type Place = (Ino, Name);

#[derive(Clone, Debug)]
pub(super) enum Op {
    Lookup(Place),
    Access(Ino, Access),
    Open(Ino, Access),
    Readdir(Ino),
    Readlink(Ino),
    Create { place: Place, mode: u32, is_exclusive: bool, wanted: Access },
    Mkdir(Place, u32),
    Mknod(Place, FileKind, u32),
    Symlink(Place, Bytes),
    Link(Ino, Place),
    Unlink(Place),
    Rmdir(Place),
    Rename(Place, Place, RenameMode),
    Setattr(Ino, SetAttr),
    Setxattr(Ino, &'static str, Bytes, XattrMode),
    Getxattr(Ino, &'static str),
    Listxattr(Ino),
    Removexattr(Ino, &'static str),
    SetAcl(Ino, &'static str, AclSpec),
    Append(Ino, u64),
    Reap(Ino),
}

/// An access control list, by its meaning.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AclSpec {
    pub(super) owner: u16,
    pub(super) users: Vec<(u32, u16)>,
    pub(super) group: u16,
    pub(super) groups: Vec<(u32, u16)>,
    pub(super) mask: Option<u16>,
    pub(super) other: u16,
}

impl AclSpec {
    /// The kernel's encoding.
    pub(super) fn encode(&self) -> Bytes {
        let none = u32::MAX;
        let mut entries = vec![(0x01_u16, self.owner, none)];
        entries.extend(self.users.iter().map(|(uid, permissions)| (0x02, *permissions, *uid)));
        entries.push((0x04, self.group, none));
        entries.extend(self.groups.iter().map(|(gid, permissions)| (0x08, *permissions, *gid)));
        entries.extend(self.mask.map(|mask| (0x10, mask, none)));
        entries.push((0x20, self.other, none));
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes.into()
    }
}

/// The superuser and two users with a group in common.
pub(super) fn users() -> [Credentials; 3] {
    let user = |uid, umask| Credentials { uid, gid: uid + 1000, groups: vec![3000], umask };
    [Credentials::ROOT, user(1001, 0o022), user(1002, 0o002)]
}

const ACL_NAMES: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// Inodes by number: mostly those of the [`prelude`], then what is made after them, and sometimes
/// one that is not there.
fn ino() -> impl Strategy<Value = Ino> + Clone {
    prop_oneof![4 => 1..5_u64, 4 => 1..10_u64, 1 => 1..20_u64].prop_map(Ino)
}

fn place() -> impl Strategy<Value = Place> + Clone {
    let name = select(vec!["a", "b", "c", "d"]).prop_map(|text| Name::new(text).unwrap());
    (ino(), name)
}

fn mode() -> impl Strategy<Value = u32> {
    // Mostly modes that let things happen, and then any.
    prop_oneof![3 => select(vec![0o777, 0o1777, 0o2775, 0o755, 0o666]), 2 => 0..0o10000_u32]
}

fn access() -> impl Strategy<Value = Access> {
    (0..8_u32).prop_map(Access::from_bits)
}

fn set_time() -> impl Strategy<Value = SetTime> {
    let at =
        (1_000_000_000..1_000_000_009_i64).prop_map(|seconds| FileTime { seconds, nanoseconds: 7 });
    prop_oneof![Just(SetTime::Keep), Just(SetTime::Now), at.prop_map(SetTime::At)]
}

/// What one `setattr` of the kernel changes: a mode, owners, a size, or times.
fn set_attr() -> impl Strategy<Value = SetAttr> {
    let uid = || option::of(select(vec![0_u32, 1001, 1002]));
    let gid = || option::of(select(vec![0_u32, 2001, 2002, 3000]));
    let none = SetAttr::default;
    prop_oneof![
        3 => mode().prop_map(move |mode| SetAttr { mode: Some(mode), ..none() }),
        3 => (uid(), gid()).prop_map(move |(uid, gid)| SetAttr { uid, gid, ..none() }),
        1 => (0..3_u64).prop_map(move |size| SetAttr { size: Some(size * 1000), ..none() }),
        2 => (set_time(), set_time())
            .prop_map(move |(atime, mtime)| SetAttr { atime, mtime, ..none() }),
    ]
}

fn xattr_name() -> impl Strategy<Value = &'static str> {
    let names = ["user.a", "user.b", "trusted.a", "security.a", "system.none", "none", "user."];
    prop_oneof![3 => select(names.to_vec()), 2 => select(ACL_NAMES.to_vec())]
}

fn plain_xattr_name() -> impl Strategy<Value = &'static str> {
    select(vec!["user.a", "user.b", "trusted.a", "security.a", "system.none", "none", "user."])
}

fn acl() -> impl Strategy<Value = AclSpec> {
    let perms = || 0..8_u16;
    let users = prop_oneof![
        Just(vec![]),
        perms().prop_map(|p| vec![(1001, p)]),
        (perms(), perms()).prop_map(|(p, q)| vec![(1001, p), (1002, q)]),
    ];
    let groups = prop_oneof![Just(vec![]), perms().prop_map(|p| vec![(3000, p)])];
    (perms(), users, perms(), groups, option::of(perms()), perms()).prop_map(
        |(owner, users, group, groups, mask, other)| {
            let is_named = !(users.is_empty() && groups.is_empty());
            let mask = if is_named { mask.or(Some(7)) } else { mask };
            AclSpec { owner, users, group, groups, mask, other }
        },
    )
}

fn any_op() -> impl Strategy<Value = Op> {
    let xattr_mode = select(vec![XattrMode::Any, XattrMode::Create, XattrMode::Replace]);
    let kind = select(FileKind::ALL.to_vec());
    let rename_mode =
        select(vec![RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange]);
    let text = || vec(any::<u8>().prop_map(|byte| byte | 1), 0..9).prop_map(Bytes::from);
    prop_oneof![
        3 => place().prop_map(Op::Lookup),
        2 => (ino(), access()).prop_map(|(ino, wanted)| Op::Access(ino, wanted)),
        2 => (ino(), access()).prop_map(|(ino, wanted)| Op::Open(ino, wanted)),
        1 => ino().prop_map(Op::Readdir),
        1 => ino().prop_map(Op::Readlink),
        6 => (place(), mode(), any::<bool>(), access()).prop_map(
            |(place, mode, is_exclusive, wanted)| Op::Create { place, mode, is_exclusive, wanted }
        ),
        9 => (place(), mode()).prop_map(|(place, mode)| Op::Mkdir(place, mode)),
        3 => (place(), kind, mode()).prop_map(|(place, kind, mode)| Op::Mknod(place, kind, mode)),
        2 => (place(), text()).prop_map(|(place, target)| Op::Symlink(place, target)),
        4 => (ino(), place()).prop_map(|(ino, place)| Op::Link(ino, place)),
        4 => place().prop_map(Op::Unlink),
        3 => place().prop_map(Op::Rmdir),
        9 => (place(), place(), rename_mode)
            .prop_map(|(from, to, mode)| Op::Rename(from, to, mode)),
        7 => (ino(), set_attr()).prop_map(|(ino, set)| Op::Setattr(ino, set)),
        2 => (ino(), plain_xattr_name(), text(), xattr_mode)
            .prop_map(|(ino, name, value, mode)| Op::Setxattr(ino, name, value, mode)),
        2 => (ino(), xattr_name()).prop_map(|(ino, name)| Op::Getxattr(ino, name)),
        1 => ino().prop_map(Op::Listxattr),
        1 => (ino(), xattr_name()).prop_map(|(ino, name)| Op::Removexattr(ino, name)),
        5 => (ino(), select(ACL_NAMES.to_vec()), acl())
            .prop_map(|(ino, name, acl)| Op::SetAcl(ino, name, acl)),
        2 => (ino(), 0..100_u64).prop_map(|(ino, length)| Op::Append(ino, length)),
        1 => ino().prop_map(Op::Reap),
    ]
}

/// What every sequence begins with: directories 2 to 4, one of them in another and one with a
/// default ACL, and files 5 to 7, one with two names.
fn prelude() -> Vec<(usize, Op)> {
    let place = |directory, name: &'static str| (Ino(directory), Name::new(name).unwrap());
    let acl = AclSpec {
        owner: 7,
        users: vec![(1002, 7)],
        group: 5,
        groups: vec![],
        mask: Some(7),
        other: 5,
    };
    vec![
        (1, Op::Mkdir(place(1, "a"), 0o777)),
        (2, Op::Mkdir(place(1, "b"), 0o777)),
        (1, Op::Mkdir(place(2, "a"), 0o1777)),
        (1, Op::Mknod(place(1, "c"), FileKind::Regular, 0o6777)),
        (2, Op::Mknod(place(4, "b"), FileKind::Regular, 0o640)),
        (2, Op::Symlink(place(3, "d"), "target".into())),
        (1, Op::Link(Ino(5), place(2, "d"))),
        (2, Op::SetAcl(Ino(3), ACL_NAMES[1], acl)),
    ]
}

/// Operations, each by one of the [`users`].
pub(super) fn sequences() -> impl Strategy<Value = Vec<(usize, Op)>> {
    let user = prop_oneof![1 => Just(0_usize), 2 => 1..3_usize];
    vec((user, any_op()), 1..100).prop_map(|ops| [prelude(), ops].concat())
}
