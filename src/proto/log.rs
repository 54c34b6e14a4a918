//! `log.*`: a look at the log and the backup of a server's hash table. The answers are plain structs,
//! for any XML-RPC library.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::limits;
use crate::proto::values::{from_i64, to_text, to_u64};
use crate::rpc::method::{WrongType, type_name};
use crate::rpc::{Answer, Method, Params, Value};
use crate::types::{LogState, Operation};

/// `log.status()`: where log and backup stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShowStatus;

impl Method for ShowStatus {
    const NAME: &'static str = "log.status";
    const HELP: &'static str = "log.status(): a struct with the server's role, the operations in its \
        log, at how many of them (backup_every) the backup is renewed, and the entries in the backup; \
        if it was ever renewed, also when (backup_time, in seconds since 1970) and how long ago \
        (backup_age, in seconds).";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["struct"]];
    const REPEATABLE: bool = true;
    type Answer = LogStatus;

    fn into_params(self) -> Vec<Value> {
        Vec::new()
    }

    fn from_params(params: Params) -> Result<Self, WrongType> {
        params.finish().map(|()| Self)
    }
}

/// What [`ShowStatus`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// `master` or `chunk`.
    pub role: String,
    /// Where log and backup stand, times in whole seconds.
    pub state: LogState,
    /// How long ago the backup was renewed, by the clock of the server, in seconds.
    pub backup_age_s: Option<u64>,
}

impl LogStatus {
    /// The status of a server with this role.
    #[must_use]
    pub fn new(role: &str, state: LogState, now: Timestamp) -> Self {
        let backup_age_s = state.renewed.map(|renewed| now.since_ms(renewed) / 1000);
        Self { role: role.to_owned(), state, backup_age_s }
    }
}

impl Answer for LogStatus {
    fn into_value(self) -> Value {
        let LogState { operations, backup_every, backup_entries, renewed } = self.state;
        let mut members = BTreeMap::from([
            ("role".to_owned(), Value::String(self.role)),
            ("operations".to_owned(), from_u64(operations)),
            ("backup_every".to_owned(), from_u64(backup_every)),
            ("backup_entries".to_owned(), from_u64(backup_entries)),
        ]);
        let time = renewed.map(|Timestamp(ms)| ("backup_time".to_owned(), from_u64(ms / 1000)));
        let age = self.backup_age_s.map(|age_s| ("backup_age".to_owned(), from_u64(age_s)));
        members.extend(time.into_iter().chain(age));
        Value::Struct(members)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        let mut members = Members::of(value)?;
        let renewed = members.take_if_any("backup_time", to_u64)?;
        let state = LogState {
            operations: members.take("operations", to_u64)?,
            backup_every: members.take("backup_every", to_u64)?,
            backup_entries: members.take("backup_entries", to_u64)?,
            renewed: renewed.map(|time_s| Timestamp(time_s.saturating_mul(1000))),
        };
        let backup_age_s = members.take_if_any("backup_age", to_u64)?;
        Ok(Self { role: members.take("role", to_text)?, state, backup_age_s })
    }
}

/// `log.show(limit)`: the last operations in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShowLog {
    /// How many at most.
    pub limit: u64,
}

impl Method for ShowLog {
    const NAME: &'static str = "log.show";
    const HELP: &'static str = "log.show(limit): the last operations in the server's log, at most \
        limit of them (20 if that is left out), oldest first: structs with number, what (put, \
        delete, changeSize, ...), key in printable form, size in bytes where there is one, and more, \
        how many other entries the operation is about.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["array"], &["array", "int"]];
    const REPEATABLE: bool = true;
    type Answer = Vec<Operation>;

    fn into_params(self) -> Vec<Value> {
        vec![from_u64(self.limit)]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let limit = params.take_if_any("limit", to_u64)?;
        params.finish()?;
        let limit = limit.unwrap_or(limits::LOG_SHOWN_DEFAULT).min(limits::LOG_SHOWN_MAX);
        Ok(Self { limit })
    }
}

fn from_operation(operation: Operation) -> Value {
    let Operation { number, what, key, size, more } = operation;
    let mut members = BTreeMap::from([
        ("number".to_owned(), from_u64(number)),
        ("what".to_owned(), Value::String(what)),
        ("key".to_owned(), Value::String(key)),
        ("more".to_owned(), from_u64(more)),
    ]);
    members.extend(size.map(|size| ("size".to_owned(), from_u64(size))));
    Value::Struct(members)
}

fn to_operation(value: Value) -> Result<Operation, WrongType> {
    let mut members = Members::of(value)?;
    Ok(Operation {
        number: members.take("number", to_u64)?,
        what: members.take("what", to_text)?,
        key: members.take("key", to_text)?,
        size: members.take_if_any("size", to_u64)?,
        more: members.take("more", to_u64)?,
    })
}

impl Answer for Vec<Operation> {
    fn into_value(self) -> Value {
        Value::Array(self.into_iter().map(from_operation).collect())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::Array(items) => items.into_iter().map(to_operation).collect(),
            other => Err(WrongType::new(format!("expected array, got {}", type_name(&other)))),
        }
    }
}

/// The members of a struct, taken by name. Those that nobody takes are of a later version.
struct Members(BTreeMap<String, Value>);

impl Members {
    fn of(value: Value) -> Result<Self, WrongType> {
        match value {
            Value::Struct(members) => Ok(Self(members)),
            other => Err(WrongType::new(format!("expected struct, got {}", type_name(&other)))),
        }
    }

    fn take_if_any<T>(
        &mut self,
        name: &str,
        convert: impl FnOnce(Value) -> Result<T, WrongType>,
    ) -> Result<Option<T>, WrongType> {
        let value = self.0.remove(name).map(convert).transpose();
        value.map_err(|error| WrongType::new(format!("member {name}: {error}")))
    }

    fn take<T>(
        &mut self,
        name: &str,
        convert: impl FnOnce(Value) -> Result<T, WrongType>,
    ) -> Result<T, WrongType> {
        let value = self.take_if_any(name, convert)?;
        value.ok_or_else(|| WrongType::new(format!("member {name} is missing")))
    }
}

fn from_u64(number: u64) -> Value {
    from_i64(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{LogStatus, Members, ShowLog};
    use crate::clock::Timestamp;
    use crate::limits;
    use crate::rpc::{Answer, Method, Params, Value};
    use crate::types::{LogState, Operation};

    #[test]
    fn answers_come_back() {
        let (operations, backup_every, backup_entries) = (2, 5, u64::MAX >> 1);
        for renewed in [None, Some(Timestamp(1 << 43))] {
            let state = LogState { operations, backup_every, backup_entries, renewed };
            let now = Timestamp((1 << 43) + 7999);
            let status = LogStatus::new("master", state, now);
            assert_eq!(status.backup_age_s, renewed.map(|_| 7));
            let back = LogStatus::from_value(status.clone().into_value()).unwrap();
            assert_eq!(back.state.renewed.map(|at| at.0 / 1000), renewed.map(|at| at.0 / 1000));
            let state = LogState { renewed, ..back.state };
            assert_eq!(LogStatus { state, ..back }, status);
        }
        let (what, key) = ("put".to_owned(), "/a".to_owned());
        let first = Operation { number: 1, what, key, size: Some(0), more: 0 };
        let log = vec![first.clone(), Operation { number: 2, size: None, more: 9, ..first }];
        assert_eq!(Vec::<Operation>::from_value(log.clone().into_value()).unwrap(), log);
    }

    #[test]
    fn a_limit_may_be_left_out_and_has_an_end() {
        let limit = |params| ShowLog::from_params(Params::new(params)).map(|call| call.limit);
        assert_eq!(limit(vec![]).unwrap(), limits::LOG_SHOWN_DEFAULT);
        assert_eq!(limit(vec![Value::Integer(3)]).unwrap(), 3);
        assert_eq!(limit(vec![Value::Long(i64::MAX)]).unwrap(), limits::LOG_SHOWN_MAX);
        assert!(limit(vec![Value::Integer(-1)]).is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = LogStatus::from_value(Value::Struct([].into())).unwrap_err();
        assert_eq!(error.to_string(), "member operations is missing");
        assert!(Members::of(Value::Nil).is_err());
    }
}
