//! Kinds that have a name in JSON, metrics and reports.

/// Makes an enum without fields, its names and `ALL` from one list, so that none of them can
/// miss a kind.
macro_rules! kinds {
    // Also `kind()` of an enum that has the same variants, with fields.
    ($(#[$of_enum:meta])* pub enum $Kind:ident of $Of:ident { $($(#[$of_one:meta])* $One:ident = $name:literal,)+ }) => {
        kinds! { $(#[$of_enum])* pub enum $Kind { $($(#[$of_one])* $One = $name,)+ } }

        impl $Of {
            pub fn kind(&self) -> $Kind {
                match self {
                    $(Self::$One { .. } => $Kind::$One,)+
                }
            }
        }
    };
    ($(#[$of_enum:meta])* pub enum $Kind:ident { $($(#[$of_one:meta])* $One:ident = $name:literal,)+ }) => {
        $(#[$of_enum])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $Kind {
            $($(#[$of_one])* $One,)+
        }

        impl $Kind {
            /// In the order in which they are reported.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$One),+];

            /// As it stands in JSON and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$One => $name,)+
                }
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $Kind {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Kind).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"enum": [$($name),+]})
            }
        }

        impl serde::Serialize for $Kind {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }
    };
}

pub(crate) use kinds;
