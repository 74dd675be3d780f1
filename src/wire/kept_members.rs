//! The value of an event with the members alone that are looked at. The others are checked and passed over,
//! because an event may repeat the request's tools or the whole answer.

use std::fmt;

use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// The members of a value that are kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeptMembers {
    All,
    /// These of an object, or of each object of a list; of another value nothing, which is null then.
    Named(&'static [(&'static str, Self)]),
}

impl KeptMembers {
    /// Reads `json` as far as its members are kept.
    pub(super) fn read(self, json: &[u8]) -> serde_json::Result<Value> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let value = self.deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for KeptMembers {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self {
            Self::All => Value::deserialize(deserializer),
            Self::Named(names) => deserializer.deserialize_any(NamedMembers(names)),
        }
    }
}

#[derive(Clone, Copy)]
struct NamedMembers(&'static [(&'static str, KeptMembers)]);

impl<'de> Visitor<'de> for NamedMembers {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(found) = members.next_key_seed(MemberName(self.0))? {
            match found {
                Some((name, inner)) => {
                    kept.insert((*name).to_owned(), members.next_value_seed(*inner)?);
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(kept.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(element) = elements.next_element_seed(KeptMembers::Named(self.0))? {
            kept.push(element);
        }
        Ok(kept.into())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// Finds a member's name among those that are kept.
struct MemberName(&'static [(&'static str, KeptMembers)]);

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = Option<&'static (&'static str, KeptMembers)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberName {
    type Value = Option<&'static (&'static str, KeptMembers)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(kept, _)| *kept == name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEPT: KeptMembers = KeptMembers::Named(&[
        ("type", KeptMembers::All),
        ("item", KeptMembers::Named(&[("type", KeptMembers::All)])),
    ]);

    #[test]
    fn other_members_are_left_out() {
        let json = json!({
            "a": {"type": 1}, "type": {"a": [1, "x\n"]}, "b": [1.5, "\u{e9}"], "item": {"type": "x", "a": {}},
        });
        let kept = json!({"type": {"a": [1, "x\n"]}, "item": {"type": "x"}});
        assert_eq!(KEPT.read(json.to_string().as_bytes()).unwrap(), kept);
        let list = KEPT.read(br#"[{"\u0074ype":1,"a":2},{"type":2,"type":3},"type"]"#).unwrap();
        assert_eq!(list, json!([{"type": 1}, {"type": 3}, null]));
        for other in ["1", "-1", "1.5", "true", "null", "\"type\""] {
            assert_eq!(KEPT.read(other.as_bytes()).unwrap(), Value::Null);
        }
    }

    #[test]
    fn the_grammar_is_checked_in_what_is_left_out() {
        for broken in
            [r#"{"a":"#, r#"{"a":01}"#, r#"{"a":"\x"}"#, r#"{"a":1,}"#, r#"{"a":1} x"#, "{\"a\":\"\n\"}"]
        {
            assert!(KEPT.read(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
