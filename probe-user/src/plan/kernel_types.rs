//! The running kernel's own description of its types (BTF), asked by name.
use btf_rs::{Btf, BtfType, Struct, Type};
use thiserror::Error;

/// Why a kernel type could not be resolved. The kernel is not one that this program knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TypeError {
    /// The bytes are no BTF.
    #[error("the kernel's BTF cannot be parsed: {0}")]
    Unparsable(String),
    /// No structure of that name has the field.
    #[error("no field {structure}.{path} in the kernel's BTF")]
    NoField {
        /// The structure's name.
        structure: String,
        /// The path of member names.
        path: String,
    },
    /// Several structures of one name have the field, at different offsets.
    #[error("several {structure}.{path} in the kernel's BTF, at different offsets")]
    Ambiguous {
        /// The structure's name.
        structure: String,
        /// The path of member names.
        path: String,
    },
    /// No enumerator of that name.
    #[error("no enumerator {0} in the kernel's BTF")]
    NoEnumerator(String),
}

/// The type of one parameter, as far as it matters for attaching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// A pointer to the named structure.
    Pointer(String),
    /// Anything else.
    Other,
}

/// What a kernel function or tracepoint takes and whether it returns something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// The parameters in order. A tracepoint's leading `void *__data` is left out.
    pub parameters: Vec<ParameterType>,
    /// Whether it returns anything but `void`.
    pub returns: bool,
}

/// The kernel's types.
pub struct KernelTypes {
    btf: Btf,
}

impl KernelTypes {
    /// Parses the content of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// [`TypeError::Unparsable`] when it is no BTF.
    pub fn parse(bytes: &[u8]) -> Result<Self, TypeError> {
        let btf = Btf::from_bytes(bytes).map_err(|e| TypeError::Unparsable(e.to_string()))?;
        Ok(Self { btf })
    }

    /// The offset in bytes of a member, looked for through anonymous structures and unions.
    ///
    /// # Errors
    /// [`TypeError::NoField`], or [`TypeError::Ambiguous`] when structures of one name disagree.
    pub fn offset(&self, structure: &str, path: &[&str]) -> Result<u32, TypeError> {
        let candidates = self.btf.resolve_types_by_name(structure).unwrap_or_default();
        let mut found: Option<u32> = None;
        for candidate in &candidates {
            let (Type::Struct(candidate) | Type::Union(candidate)) = candidate else { continue };
            let Some(bits) = self.bits_to(candidate, path) else { continue };
            if found.is_some_and(|other| other != bits / 8) {
                return Err(TypeError::Ambiguous { structure: structure.to_owned(), path: path.join(".") });
            }
            found = Some(bits / 8);
        }
        found.ok_or_else(|| TypeError::NoField { structure: structure.to_owned(), path: path.join(".") })
    }

    /// The value of an enumerator in the named enumeration, or in any anonymous one for `""`.
    ///
    /// # Errors
    /// [`TypeError::NoEnumerator`].
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Result<u32, TypeError> {
        let ids = self.btf.resolve_ids_by_name(enumeration).unwrap_or_default();
        ids.into_iter()
            .filter_map(|id| match self.btf.resolve_type_by_id(id) {
                Ok(Type::Enum(found)) => Some(found),
                _ => None,
            })
            .find_map(|found| {
                found.members.iter().find(|member| self.is_named(*member, name)).map(|m| m.val())
            })
            .ok_or_else(|| TypeError::NoEnumerator(name.to_owned()))
    }

    /// The prototype of a function; `None` when the kernel has none of that name, or several that differ.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Prototype> {
        let functions = self.btf.resolve_types_by_name(name).ok()?;
        let mut prototypes = functions.iter().filter_map(|function| match function {
            Type::Func(function) => self.prototype(function, 0),
            _ => None,
        });
        let first = prototypes.next()?;
        prototypes.all(|other| other == first).then_some(first)
    }

    /// The number of a function in the BTF; `None` when there is none of that name, or several.
    #[must_use]
    pub fn function_id(&self, name: &str) -> Option<u32> {
        self.only_id(name, |found| matches!(found, Type::Func(_)))
    }

    /// The number of a structure in the BTF; `None` when there is none of that name, or several.
    #[must_use]
    pub fn structure_id(&self, name: &str) -> Option<u32> {
        self.only_id(name, |found| matches!(found, Type::Struct(_)))
    }

    fn only_id(&self, name: &str, is_meant: impl Fn(&Type) -> bool) -> Option<u32> {
        let ids = self.btf.resolve_ids_by_name(name).ok()?;
        let mut meant =
            ids.into_iter().filter(|id| self.btf.resolve_type_by_id(*id).is_ok_and(|found| is_meant(&found)));
        let only = meant.next()?;
        meant.next().is_none().then_some(only)
    }

    /// The prototype of a BTF tracepoint: the typedef `btf_trace_NAME` of a pointer to a function.
    #[must_use]
    pub fn tracepoint(&self, name: &str) -> Option<Prototype> {
        let typedefs = self.btf.resolve_types_by_name(&format!("btf_trace_{name}")).ok()?;
        typedefs.iter().find_map(|typedef| match typedef {
            Type::Typedef(typedef) => match self.btf.resolve_chained_type(typedef).ok()? {
                Type::Ptr(pointer) => self.prototype(&pointer, 1),
                _ => None,
            },
            _ => None,
        })
    }

    /// The prototype that a function or pointer refers to, without its first `skip` parameters.
    fn prototype(&self, referrer: &dyn BtfType, skip: usize) -> Option<Prototype> {
        let Type::FuncProto(prototype) = self.btf.resolve_chained_type(referrer).ok()? else {
            return None;
        };
        let parameters = prototype.parameters.iter().skip(skip).map(|p| self.parameter_type(p)).collect();
        Some(Prototype { parameters, returns: prototype.return_type_id() != 0 })
    }

    fn parameter_type(&self, parameter: &dyn BtfType) -> ParameterType {
        let pointee = match self.without_modifiers(parameter) {
            Some(Type::Ptr(pointer)) => self.without_modifiers(&pointer),
            _ => return ParameterType::Other,
        };
        match pointee {
            Some(Type::Struct(pointee)) => {
                self.btf.resolve_name(&pointee).map_or(ParameterType::Other, ParameterType::Pointer)
            }
            _ => ParameterType::Other,
        }
    }

    /// The type that something refers to, past const, volatile, restrict, typedefs and tags.
    fn without_modifiers(&self, referrer: &dyn BtfType) -> Option<Type> {
        self.btf.chained_type_iter(referrer).find(|found| {
            !matches!(
                found,
                Type::Const(_) | Type::Volatile(_) | Type::Restrict(_) | Type::Typedef(_) | Type::TypeTag(_)
            )
        })
    }

    /// The offset in bits of `path` within `structure`.
    fn bits_to(&self, structure: &Struct, path: &[&str]) -> Option<u32> {
        let (first, rest) = path.split_first()?;
        for member in &structure.members {
            if self.is_named(member, first) {
                if rest.is_empty() {
                    return Some(member.bit_offset());
                }
                let bits = self.bits_to(&self.structure_of(member)?, rest)?;
                return Some(member.bit_offset() + bits);
            }
            if self.is_named(member, "")
                && let Some(anonymous) = self.structure_of(member)
                && let Some(bits) = self.bits_to(&anonymous, path)
            {
                return Some(member.bit_offset() + bits);
            }
        }
        None
    }

    fn structure_of(&self, member: &dyn BtfType) -> Option<Struct> {
        match self.without_modifiers(member)? {
            Type::Struct(found) | Type::Union(found) => Some(found),
            _ => None,
        }
    }

    fn is_named(&self, named: &dyn BtfType, name: &str) -> bool {
        self.btf.resolve_name(named).is_ok_and(|found| found == name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::test_btf::BtfWriter;

    const ANYTHING: u32 = BtfWriter::ANYTHING;

    #[test]
    fn a_member_is_found_through_anonymous_structures_and_named_ones() {
        let mut btf = BtfWriter::new();
        let inner = btf.structure("", &[("deep", ANYTHING, 4)]);
        let union = btf.union("", &[("flag", ANYTHING, 0), ("", inner, 0)]);
        let named = btf.structure("part", &[("field", ANYTHING, 8)]);
        let constant = btf.constant(named);
        btf.structure("whole", &[("first", ANYTHING, 0), ("", union, 16), ("part", constant, 32)]);
        let types = btf.parse();
        let check = |path: &[&str], expected: u32| {
            assert_eq!(types.offset("whole", path), Ok(expected), "{path:?}");
        };
        check(&["first"], 0);
        check(&["flag"], 16);
        check(&["deep"], 20);
        check(&["part", "field"], 40);
        assert!(matches!(types.offset("whole", &["part", "none"]), Err(TypeError::NoField { .. })));
        assert!(matches!(types.offset("nothing", &["first"]), Err(TypeError::NoField { .. })));
    }

    #[test]
    fn of_two_structures_with_one_name_the_one_with_the_field_counts_unless_they_disagree() {
        let mut btf = BtfWriter::new();
        btf.structure("twin", &[("other", ANYTHING, 0)]);
        btf.structure("twin", &[("field", ANYTHING, 8)]);
        assert_eq!(btf.parse().offset("twin", &["field"]), Ok(8));
        btf.structure("twin", &[("field", ANYTHING, 8)]);
        assert_eq!(btf.parse().offset("twin", &["field"]), Ok(8));
        btf.structure("twin", &[("field", ANYTHING, 16)]);
        let disagreeing = btf.parse().offset("twin", &["field"]);
        assert!(matches!(disagreeing, Err(TypeError::Ambiguous { .. })));
    }

    #[test]
    fn enumerators_are_found_in_anonymous_and_in_named_enumerations() {
        let mut btf = BtfWriter::new();
        btf.enumeration("", &[("A", 1), ("B", 2)]);
        btf.enumeration("named", &[("C", 3)]);
        let types = btf.parse();
        assert_eq!(types.enumerator("", "B"), Ok(2));
        assert_eq!(types.enumerator("named", "C"), Ok(3));
        assert_eq!(types.enumerator("", "C"), Err(TypeError::NoEnumerator("C".into())));
    }

    #[test]
    fn a_prototype_names_the_structures_pointed_to_and_leaves_a_tracepoints_data_out() {
        let mut btf = BtfWriter::new();
        let sock = btf.structure("sock", &[]);
        let constant = btf.constant(sock);
        let pointer = btf.pointer_to(constant);
        btf.function("takes", &[pointer, ANYTHING], 0);
        btf.function("gives", &[], pointer);
        btf.tracepoint("event", &[pointer]);
        let types = btf.parse();
        let sock = || ParameterType::Pointer("sock".into());
        let check = |found: Option<Prototype>, parameters: Vec<ParameterType>, returns: bool| {
            assert_eq!(found, Some(Prototype { parameters, returns }));
        };
        check(types.function("takes"), vec![sock(), ParameterType::Other], false);
        check(types.function("gives"), vec![], true);
        check(types.tracepoint("event"), vec![sock()], false);
        assert_eq!(types.function("sock"), None);
        assert_eq!(types.tracepoint("takes"), None);
    }

    #[test]
    fn two_functions_of_one_name_with_different_prototypes_are_none() {
        let mut btf = BtfWriter::new();
        btf.function("twin", &[ANYTHING], 0);
        btf.function("twin", &[ANYTHING, ANYTHING], 0);
        assert_eq!(btf.parse().function("twin"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_types_or_an_error_and_never_a_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..512),
            with_header in any::<bool>(),
        ) {
            if with_header {
                let valid = BtfWriter::new().bytes();
                let end = valid.len().min(bytes.len());
                bytes.splice(..end, valid);
            }
            if let Ok(types) = KernelTypes::parse(&bytes) {
                let _offset = types.offset("int", &["field"]);
                let _function = types.function("int");
            }
        }

        #[test]
        fn one_wrong_byte_is_types_or_an_error_and_never_a_panic(at in 0_usize..4096, byte in any::<u8>()) {
            let mut btf = BtfWriter::new();
            let inner = btf.structure("", &[("deep", ANYTHING, 4)]);
            btf.structure("whole", &[("", inner, 16)]);
            btf.function("whole", &[inner], 0);
            let mut bytes = btf.bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(types) = KernelTypes::parse(&bytes) {
                let _offset = types.offset("whole", &["deep"]);
                let _function = types.function("whole");
            }
        }
    }
}
