// Package oauth says who is calling, and holds the credentials for whom we call.
//
// Inbound, it is the second thing a request meets, after the edge: an [Authenticator] turns its credential into a
// policy.Principal. Virtual keys are declared in the config or minted at run time; [Keys] has all of them in memory, by a
// keyed hash of their secrets, and never compares or keeps the secrets themselves. Minted keys live in a SQLite file that
// the command line may change while the gateway runs, or in the PostgreSQL database of several gateways: a revocation at
// one is then done when all refuse the key, which each notes in the database, and one that has lost the database refuses
// minted keys by itself.
//
// Outbound, it is the last thing before the network: a [Vault] hands out an upstream's credential, and only against a live
// permit for that upstream, so a credential cannot be had without a decision and a ledger entry.
package oauth
