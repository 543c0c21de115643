// Package redact keeps credentials and personal data out of texts.
//
// What must never be printed lives in a secret.String, which cannot be; a [Mask] is the net below it, for texts that came
// from elsewhere: an upstream's error that quotes the key it was sent, a URL, a header. It knows the credentials of the
// config by value and those of many vendors by their shape, and wraps the process's slog.Handler.
//
// [Tokens] goes further, for payloads that are kept: credentials, addresses of mail, numbers of cards, accounts and phones
// are replaced by tokens, <email:7f3a91c2>, that are the same for the same value and tell nothing of it without a key, so
// that a reader sees that two calls speak of the same without learning of whom. It finds what has a form. A person's name
// in a sentence has none, and stays.
package redact
