//! How each column lies in a file.

use super::thrift::Struct;
use crate::pack::columns::Column;

/// How the values of a column lie in a page (PLAIN of `Encodings.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical {
    Int32,
    Int64,
    Bytes,
}

impl Physical {
    /// `Type` of `parquet.thrift`.
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Int32 => 1,
            Self::Int64 => 2,
            Self::Bytes => 6,
        }
    }
}

impl Column {
    pub(super) fn physical(self) -> Physical {
        match self {
            Self::Size | Self::FetchedAt | Self::Ordinal => Physical::Int64,
            Self::Status => Physical::Int32,
            _ => Physical::Bytes,
        }
    }

    /// Whether a row may be without it.
    pub(super) fn is_optional(self) -> bool {
        match self {
            Self::Name | Self::Body | Self::Size | Self::Sha256 | Self::Ordinal => false,
            Self::Url
            | Self::Status
            | Self::ContentType
            | Self::Etag
            | Self::LastModified
            | Self::FetchedAt => true,
        }
    }

    /// Writes its `SchemaElement`.
    pub(super) fn declare(self, element: &mut Struct<'_>) {
        element.int32(1, self.physical().code());
        element.int32(3, i64::from(self.is_optional()));
        element.text(4, self.name().as_bytes());
        // The older `ConvertedType` (6) beside the `LogicalType` (10), for older readers.
        match self {
            Self::Body | Self::Size | Self::Ordinal => {}
            Self::Status => {
                element.int32(6, 12);
                element.nested(10, |logical| {
                    logical.nested(10, |integer| {
                        integer.int8(1, 16);
                        integer.flag(2, false);
                    });
                });
            }
            Self::FetchedAt => {
                element.int32(6, 9);
                element.nested(10, |logical| {
                    logical.nested(8, |timestamp| {
                        timestamp.flag(1, true);
                        timestamp.nested(2, |unit| unit.nested(1, |_| {}));
                    });
                });
            }
            _ => {
                element.int32(6, 0);
                element.nested(10, |logical| logical.nested(1, |_| {}));
            }
        }
    }
}
