//! Literal values from papers and peers' tests (`anchors.md`, B1 to B3): quantities and distributions of
//! interest, and every method on networks written out by hand.

mod distributions;
mod methods;
mod quantities;
