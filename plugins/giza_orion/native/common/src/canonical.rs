//! Every number of the 31-bit field, wherever it stands in a proof, must be below the field's prime.
//!
//! stwo reads these numbers as any 32 bits, so that P + 1 would be a second way to write 1. The walk below visits a value
//! as serde would write it and looks at each `M31`, so that no field of a proof can be forgotten.

use serde::ser::{self, Serialize};
use stwo::core::fields::m31::P;

use crate::Refused;

/// Refuse a value that holds a field element of P or more.
pub fn require_canonical<T: Serialize>(value: &T) -> Result<(), Refused> {
    value.serialize(&mut Walk { inside: false }).map_err(|error| Refused(error.0))
}

struct Walk {
    /// Whether the next integer is a field element's.
    inside: bool,
}

#[derive(Debug)]
struct Stop(String);

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! pass {
    ($($name:ident($type:ty)),*) => {$(
        fn $name(self, _: $type) -> Result<(), Stop> {
            Ok(())
        }
    )*};
}

impl ser::Serializer for &mut Walk {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    pass!(serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64));
    pass!(serialize_u8(u8), serialize_u16(u16), serialize_u64(u64), serialize_f32(f32), serialize_f64(f64));
    pass!(serialize_char(char), serialize_str(&str), serialize_bytes(&[u8]), serialize_unit_struct(&'static str));

    fn serialize_u32(self, value: u32) -> Result<(), Stop> {
        match self.inside && value >= P {
            true => Err(Stop(format!("the field element {value} is not below {P}"))),
            false => Ok(()),
        }
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, name: &'static str, value: &T) -> Result<(), Stop> {
        let outer = std::mem::replace(&mut self.inside, name == "M31");
        value.serialize(&mut *self)?;
        self.inside = outer;
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Stop> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Stop> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Stop> {
        Ok(self)
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, Stop> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Stop> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Stop> {
        Ok(self)
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, Stop> {
        Ok(self)
    }
}

macro_rules! descend {
    ($($trait:ident: $method:ident($($key:ident)?)),*) => {$(
        impl ser::$trait for &mut Walk {
            type Ok = ();
            type Error = Stop;

            fn $method<T: ?Sized + Serialize>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), Stop> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        }
    )*};
}

descend!(SerializeSeq: serialize_element(), SerializeTuple: serialize_element());
descend!(SerializeTupleStruct: serialize_field(), SerializeTupleVariant: serialize_field());
descend!(SerializeStruct: serialize_field(_key), SerializeStructVariant: serialize_field(_key));

impl ser::SerializeMap for &mut Walk {
    type Ok = ();
    type Error = Stop;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Stop> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Stop> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stwo::core::fields::cm31::CM31;
    use stwo::core::fields::m31::M31;
    use stwo::core::fields::qm31::QM31;

    use super::*;

    #[test]
    fn a_field_element_is_found_wherever_it_stands() {
        let good = QM31(CM31(M31(1), M31(P - 1)), CM31(M31(0), M31(2)));
        assert!(require_canonical(&vec![vec![Some(good)]]).is_ok());
        for place in 0..4 {
            let mut parts = good.to_m31_array();
            parts[place] = M31(P);
            let bad = QM31(CM31(parts[0], parts[1]), CM31(parts[2], parts[3]));
            assert!(require_canonical(&vec![vec![good], vec![bad]]).is_err());
            assert!(require_canonical(&(u32::MAX, Some(bad))).is_err());
        }
    }

    #[test]
    fn other_integers_may_be_large() {
        assert!(require_canonical(&(u32::MAX, vec![P], [u64::MAX])).is_ok());
    }
}
