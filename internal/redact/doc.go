// Package redact keeps credentials out of logs. What must never be printed lives in a secret.String, which cannot be; this
// is the net below it, for texts that came from elsewhere: an upstream's error that quotes the key it was sent, a URL, a
// header. A [Mask] knows the credentials of the config by value and those of many vendors by their shape, and wraps the
// process's slog.Handler.
package redact
