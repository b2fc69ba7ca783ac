//! Names of choices: one list gives `ALL`, `name`, `Display` and `FromStr`.

/// Reading ignores case and takes `-` for `_`; an unknown name is an error that lists all.
macro_rules! named {
    ($type:ident, $what:literal, $($choice:ident = $name:literal),+ $(,)?) => {
        impl $type {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$choice),+];

            /// The name by which it is displayed and read.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$choice => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::Error;

            fn from_str(text: &str) -> $crate::Result<Self> {
                let wanted = text.trim().to_ascii_lowercase().replace('-', "_");
                Self::ALL.iter().copied().find(|one| one.name() == wanted).ok_or_else(|| {
                    let names = [$($name),+].join(", ");
                    $crate::error::invalid($what, format_args!("one of {names}"), format_args!("{text:?}"))
                })
            }
        }
    };
}

pub(crate) use named;
