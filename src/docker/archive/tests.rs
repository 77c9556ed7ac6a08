//! What archives are made of, and how they break.
