// Package oauth says who is calling, and holds the credentials for whom we call.
//
// Inbound: an [Authenticator] turns the credential of a request into a policy.Principal. Virtual keys are declared in the
// config or minted at run time; both are found by a keyed hash, never compared as text. Outbound: a [Vault] hands out an
// upstream's credential, and only against a live permit for that upstream.
package oauth
