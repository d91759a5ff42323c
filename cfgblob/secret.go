package cfgblob

import (
	"fmt"
	"log/slog"
)

// Redacted stands where a secret is not shown.
const Redacted = "[redacted]"

// A Secret is a string that is not printed: fmt and slog show [Redacted] for it,
// also inside a struct. In JSON it is itself, since that is how it travels; a
// field of this type is secret to the store in the same way as one with the tag
// `secret:"true"`.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns [Redacted].
func (s Secret) String() string { return Redacted }

// Format prints [Redacted] for every verb and flag.
func (s Secret) Format(f fmt.State, verb rune) { fmt.Fprint(f, Redacted) }

// LogValue is [Redacted] as an attribute of a log record.
func (s Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }
