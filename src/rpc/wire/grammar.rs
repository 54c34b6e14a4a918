//! The elements of XML-RPC and which may stand in which (specification of 1999, with the usual
//! extensions `i8` and `nil`).

macro_rules! elements {
    ($($element:ident = $name:literal,)*) => {
        /// An element of XML-RPC.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Element { $($element,)* }

        impl Element {
            /// The element with this name.
            pub(super) fn from_name(name: &[u8]) -> Option<Self> {
                $(if name == $name.as_bytes() { return Some(Self::$element); })*
                None
            }

            /// The element's name.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$element => $name,)* }
            }
        }
    };
}

elements! {
    Value = "value",
    String = "string",
    Base64 = "base64",
    Int = "int",
    I4 = "i4",
    I8 = "i8",
    Member = "member",
    Name = "name",
    Struct = "struct",
    Array = "array",
    Data = "data",
    Boolean = "boolean",
    Double = "double",
    DateTime = "dateTime.iso8601",
    Nil = "nil",
    Param = "param",
    Params = "params",
    MethodCall = "methodCall",
    MethodName = "methodName",
    MethodResponse = "methodResponse",
    Fault = "fault",
}

impl Element {
    /// Whether `child` may stand directly in this element.
    pub(super) fn may_hold(self, child: Self) -> bool {
        match self {
            Self::MethodCall => matches!(child, Self::MethodName | Self::Params),
            Self::MethodResponse => matches!(child, Self::Params | Self::Fault),
            Self::Params => child == Self::Param,
            Self::Param | Self::Fault | Self::Data => child == Self::Value,
            Self::Array => child == Self::Data,
            Self::Struct => child == Self::Member,
            Self::Member => matches!(child, Self::Name | Self::Value),
            Self::Value => child.is_type(),
            _ => false,
        }
    }

    /// Whether this element has at most one child.
    pub(super) fn holds_one(self) -> bool {
        matches!(self, Self::Value | Self::Param | Self::Fault | Self::Array | Self::MethodResponse)
    }

    /// Whether this element is the type of a value.
    fn is_type(self) -> bool {
        match self {
            Self::String | Self::Base64 | Self::Struct | Self::Array | Self::Nil => true,
            other => other.is_scalar(),
        }
    }

    /// Whether this element's text is a number, a truth value or a date: white space around it
    /// means nothing.
    pub(super) fn is_scalar(self) -> bool {
        matches!(
            self,
            Self::Int | Self::I4 | Self::I8 | Self::Boolean | Self::Double | Self::DateTime
        )
    }

    /// Whether text may stand directly in this element.
    pub(super) fn holds_text(self) -> bool {
        match self {
            Self::Value | Self::String | Self::Name | Self::MethodName | Self::Base64 => true,
            other => other.is_scalar(),
        }
    }
}
