//! The names that profiles are written with, as the types themselves have them: so that a list of them anywhere else can be
//! held against the code, and a typo is told with the name that was meant.
//!
//! Not fuzzed: nothing from outside is read here.

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// How alike a name must be to be taken for what was meant: 1 is the same.
const ALIKE: f64 = 0.8;

/// The variants of an enum whose tags stand outside.
pub(crate) fn tags<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    asked::<T>(None)
}

/// The fields of one of them; none if there is no such variant.
pub(crate) fn fields<'de, T: Deserialize<'de>>(tag: &str) -> &'static [&'static str] {
    match tags::<T>().iter().find(|known| **known == tag) {
        Some(known) => asked::<T>(Some(known)),
        None => &[],
    }
}

/// The keys of an object.
pub(crate) fn keys<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    asked::<T>(None)
}

/// The known name that is meant by one that is not known, as the end of a sentence.
pub(crate) fn meant(name: &str, known: &[&str]) -> String {
    let alike = known.iter().map(|known| (strsim::jaro_winkler(name, known), *known));
    match alike.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(alike, _)| *alike >= ALIKE) {
        Some((_, known)) => format!("; did you mean `{known}`?"),
        None if known.is_empty() => "; there are no fields here".into(),
        None => format!("; there are {}", known.join(", ")),
    }
}

/// What a type's `Deserialize` asks for: its fields, its variants, or the fields of a variant.
fn asked<'de, T: Deserialize<'de>>(variant: Option<&'static str>) -> &'static [&'static str] {
    let mut told: &'static [&'static str] = &[];
    // It always ends with an error: nothing is read.
    let read = T::deserialize(Asked { variant, told: &mut told });
    debug_assert!(read.is_err());
    told
}

/// Reads nothing and notes what is asked for.
struct Asked<'t> {
    variant: Option<&'static str>,
    told: &'t mut &'static [&'static str],
}

fn nothing<T>() -> Result<T, Error> {
    Err(serde::de::Error::custom("nothing is read"))
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        nothing()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.told = fields;
        nothing()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.variant {
            Some(_) => visitor.visit_enum(self),
            None => {
                *self.told = variants;
                nothing()
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Asked<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.variant.unwrap_or_default().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Asked<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        nothing()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        nothing()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        nothing()
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        *self.told = fields;
        nothing()
    }
}
