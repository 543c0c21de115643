package settings

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/oauth"
)

const (
	// secretKeyCharsMin is the length of secret_key: 32 random characters of base64 are 192 bits.
	secretKeyCharsMin = 32
	// The bounds of offline. Below the first a hiccup of the network stops all calls; beyond the last a revoked key works
	// for longer than anybody would wait.
	offlineDefault = 5 * time.Second
	offlineMin     = time.Second
	offlineMax     = time.Minute
)

// Replica is what makes this gateway one of several that share limits and keys.
type Replica struct {
	Database  secret.String // URL of a PostgreSQL database
	Place     string        // the same without a password, for people
	Advertise string        // host:port at which the other replicas reach this one; port 0: the one that listen has got
	Offline   time.Duration // how long the gateway goes on without contact with the database

	SecretKey secret.String // shared by all replicas
}

// SharedKeys are what secret_key is stretched into: one for each use, of which none tells of another.
type SharedKeys struct {
	Pepper  []byte // of virtual keys
	Seal    []byte // of what callers keep for the gateway
	Digest  []byte // of arguments and answers in entries
	Payload []byte // of users' names and captured payloads
	Peers   []byte // of requests between replicas
}

// sharedKeyBytes is the length of each of SharedKeys.
const sharedKeyBytes = 32

// Keys derives the shared keys.
func (r *Replica) Keys() (SharedKeys, error) {
	pepper, err := oauth.DerivePepper(r.SecretKey)
	if err != nil {
		return SharedKeys{}, fmt.Errorf("secret_key: %w", err)
	}
	k := SharedKeys{Pepper: pepper}
	for label, into := range map[string]*[]byte{
		"tollgate seal v1": &k.Seal, "tollgate argument digest v1": &k.Digest,
		"tollgate payload v1": &k.Payload, "tollgate replica request v1": &k.Peers,
	} {
		if *into, err = secret.Derive(r.SecretKey, label, sharedKeyBytes); err != nil {
			return SharedKeys{}, fmt.Errorf("secret_key: %w", err)
		}
	}
	return k, nil
}

// replicas reads what makes the gateway one of several. Its secrets are looked for even where no call will be made: without
// them keys and usage cannot be read.
func (out *Setup) replicas(s *Source) {
	if s.Database == "" {
		for path, set := range map[string]bool{"secret_key": s.SecretKey != "", "advertise": s.Advertise != "", "offline": s.Offline != 0} {
			if set {
				s.fault(path, "%s is for several replicas, which share a database: write database: postgres://user@host/name", path)
			}
		}
		return
	}
	r := &Replica{Offline: cmp.Or(time.Duration(s.Offline), offlineDefault), Advertise: s.Advertise}
	out.database(s, r)
	out.secretKey(s, r)
	if r.Offline < offlineMin || r.Offline > offlineMax {
		s.fault("offline", "offline may be %s to %s: for as long a revoked key works at a replica that has lost the database", offlineMin, offlineMax)
	}
	if s.Advertise == "" {
		s.fault("database", "several replicas need to reach each other: write advertise: host:port, the address of this one's listen for the others")
	} else if fault := badAdvertise(s.Advertise, out.Loopback()); fault != "" {
		s.fault("advertise", "%s", fault)
	}
	out.Replica = r
}

// database reads the URL, which is a reference when it holds a password.
func (out *Setup) database(s *Source, r *Replica) {
	ref := secret.IsReference(s.Database)
	if r.Database = secret.New(s.Database); ref {
		r.Database = out.shared(s, "database", s.Database)
	}
	text := r.Database.Reveal()
	if text == "" {
		return // the reference leads nowhere, which has been said
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		s.fault("database", "the URL of the database cannot be read: write postgres://user@host:5432/name; odd characters in a password are written %%40")
		return
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		s.fault("database", "a database is named by postgres://user@host:5432/name; no other kind is supported")
		return
	case strings.Trim(u.Path, "/") == "":
		s.fault("database", "the URL names no database: write postgres://user@host:5432/name")
	case !ref && hasPassword(u):
		s.fault("database", "a password may not stand in the config itself: put the whole URL into an environment variable and write database: env:NAME, or into a file and write file:PATH")
	}
	r.Place = placeOf(u)
}

// placeOf is where a database is, without its user's password and without parameters, any of which may be one.
func placeOf(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if name := u.User.Username(); name != "" {
		shown.User = url.User(name)
	}
	return shown.String()
}

func hasPassword(u *url.URL) bool {
	_, set := u.User.Password()
	return set || u.Query().Has("password") || u.Query().Has("sslpassword")
}

func (out *Setup) secretKey(s *Source, r *Replica) {
	if s.SecretKey == "" {
		s.fault("database", "several replicas need a secret they share: write secret_key: env:NAME or file:PATH, with %d random characters or more", secretKeyCharsMin)
		return
	}
	r.SecretKey = out.shared(s, "secret_key", s.SecretKey)
	if n := len(r.SecretKey.Reveal()); n > 0 && n < secretKeyCharsMin {
		s.fault("secret_key", "the secret key has fewer than %d characters: make one with openssl rand -base64 32", secretKeyCharsMin)
	}
}

// shared resolves a secret whether or not others are looked for.
func (out *Setup) shared(s *Source, path, ref string) secret.String {
	without := s.WithoutSecrets
	s.WithoutSecrets = false
	defer func() { s.WithoutSecrets = without }()
	return out.reference(s, path, ref)
}

// badAdvertise says what is wrong with the address for other replicas, or nothing.
func badAdvertise(text string, loopback bool) string {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || port == "" || strings.Trim(port, "0123456789") != "" {
		return fmt.Sprintf("%q is not an address that another machine can reach: write host:port, such as 10.0.0.5:8787", text)
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.IsUnspecified():
		return fmt.Sprintf("%s is every address of this machine; the others need one of them, such as 10.0.0.5:8787", host)
	case loopback && host != "localhost" && !(err == nil && addr.IsLoopback()):
		return fmt.Sprintf("the other replicas cannot reach %s, because listen takes connections of this machine only: write listen: 0.0.0.0:8787", text)
	}
	return ""
}
