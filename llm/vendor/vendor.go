package vendor

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Custom is the kind of a provider that is none of the table's: any address, with the dialects it declares.
const Custom = "custom"

// Vendor is one row of the table. Rows are shared and never changed.
type Vendor struct {
	Kind string

	// Root is the address that the prefixes stand on. {NAME} is taken from the environment variable NAME. Empty: there
	// is no usual one, base_url must be declared.
	Root string
	// Prefix is the path between the root and the tail of OpenAI's dialects, Anthropic that of Anthropic's.
	Prefix, Anthropic string

	Dialects []Dialect // spoken unless the provider declares others
	Optional []Dialect // offered at some accounts, versions or models only: used when declared

	Auth          Auth
	AnthropicAuth Auth     // of Anthropic's dialects; empty: as Auth
	KeyEnv        []string // usual environment variables of the key, the first that is set counts
	// BaseEnv is the variable that says where the user's own server is. Those of clouds do not count: they point clients at
	// a gateway such as this one.
	BaseEnv string

	Local  bool   // a model server on the user's own machine: no key, no price list
	Probe  string // path below the root that answers 200 to GET when such a server is up
	Quirks Quirks

	// Source says what the row rests on: "docs", "api reference", or what in it is not confirmed.
	Source string
}

// Quirks are the differences that the proxy must know to leave a request otherwise as it came.
type Quirks struct {
	NoStreamOptions    bool // chat: stream_options is refused or of no use; do not inject include_usage
	UsageUnasked       bool // chat: usage comes in the stream without being asked for
	UsageEveryChunk    bool // chat: usage comes in every chunk, cumulative
	StatelessResponses bool // responses: no previous_response_id, no store
	NoModelList        bool // has no models endpoint in a known shape
}

// Auth is how a vendor takes its key.
type Auth string

// The ways to present a key.
const (
	Bearer  Auth = "bearer"    // Authorization: Bearer KEY
	XAPIKey Auth = "x-api-key" // Anthropic: x-api-key: KEY, with anthropic-version
	APIKey  Auth = "api-key"   // Azure: api-key: KEY
	NoAuth  Auth = "none"
)

// AnthropicVersion is sent to Anthropic dialects when the client named no version of its own.
const AnthropicVersion = "2023-06-01"

// Apply writes key into h in a's form and removes every other form, so that no caller's credential goes along. An empty
// key only removes.
func (a Auth) Apply(h http.Header, key string) {
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		h.Del(name)
	}
	if key == "" {
		return
	}
	switch a {
	case Bearer:
		h.Set("Authorization", "Bearer "+key)
	case XAPIKey:
		h.Set("X-Api-Key", key)
	case APIKey:
		h.Set("Api-Key", key)
	}
}

// Endpoint is where requests of one dialect go.
type Endpoint struct {
	URL     string
	Auth    Auth
	Dialect Dialect
}

// Prepare sets the headers that the endpoint needs on a request: the key, and anthropic-version where it is missing.
func (e Endpoint) Prepare(h http.Header, key string) {
	e.Auth.Apply(h, key)
	if (e.Dialect.anthropic() || e.Auth == XAPIKey) && h.Get("Anthropic-Version") == "" {
		h.Set("Anthropic-Version", AnthropicVersion)
	}
}

// The faults of a provider's declaration.
var (
	ErrKind    = errors.New("unknown vendor kind")
	ErrBase    = errors.New("bad base_url")
	ErrDialect = errors.New("dialect not offered")
)

// Kinds returns the kinds of the table, sorted.
func Kinds() []string {
	kinds := make([]string, 0, len(vendors))
	for i := range vendors {
		kinds = append(kinds, vendors[i].Kind)
	}
	slices.Sort(kinds)
	return kinds
}

// Lookup returns the row of kind. Its error is ErrKind and lists the kinds.
func Lookup(kind string) (*Vendor, error) {
	for i := range vendors {
		if vendors[i].Kind == kind {
			return &vendors[i], nil
		}
	}
	return nil, fmt.Errorf("%w %q: write `kind:` as one of %s; kind custom takes any base_url", ErrKind, kind, strings.Join(Kinds(), ", "))
}

// Speaks reports whether the row can be used for d: by default, or when it is declared.
func (v *Vendor) Speaks(d Dialect) bool {
	return slices.Contains(v.Dialects, d) || slices.Contains(v.Optional, d)
}

// AuthFor returns how the key is presented for d.
func (v *Vendor) AuthFor(d Dialect) Auth {
	if d.anthropic() && v.AnthropicAuth != "" {
		return v.AnthropicAuth
	}
	return v.Auth
}

// prefix is the path between the root and d's tail.
func (v *Vendor) prefix(d Dialect) string {
	if d.anthropic() {
		return v.Anthropic
	}
	return v.Prefix
}

// ownKeys begins the gateway's own keys. Clients of the gateway have them in the vendors' variables.
const ownKeys = "tg_sk_"

// Key returns the key and the name of its variable from the environment, or nothing. A key of a gateway is no key of the
// vendor's and must not be sent there.
func (v *Vendor) Key(getenv func(string) string) (key, name string) {
	for _, name := range v.KeyEnv {
		if key := strings.TrimSpace(getenv(name)); key != "" && !strings.HasPrefix(key, ownKeys) {
			return key, name
		}
	}
	return "", ""
}

// Base returns the address to use when the provider declares none: the vendor's variable for it if one is set, else the
// usual root with its variables filled in. The error is ErrBase and says what to write.
func (v *Vendor) Base(getenv func(string) string) (string, error) {
	if v.BaseEnv != "" {
		if base := strings.TrimSpace(getenv(v.BaseEnv)); base != "" {
			return withScheme(base, v.Local), nil
		}
	}
	root := v.Root
	for {
		open, end := strings.IndexByte(root, '{'), strings.IndexByte(root, '}')
		if open < 0 || end < open {
			break
		}
		name := root[open+1 : end]
		value := strings.TrimSpace(getenv(name))
		if value == "" {
			return "", fmt.Errorf("%w: kind %s has no usual address without %s: write `base_url: %s`", ErrBase, v.Kind, name, v.Root)
		}
		root = root[:open] + value + root[end+1:]
	}
	if root == "" {
		return "", fmt.Errorf("%w: kind %s has no usual address: write `base_url:` with the one you use", ErrBase, v.Kind)
	}
	return root, nil
}

// withScheme completes the short addresses that local servers take from the environment: "0.0.0.0:11434" is where such
// a server listens, not where it is reached.
func withScheme(base string, local bool) string {
	if strings.Contains(base, "://") {
		return base
	}
	if !local {
		return "https://" + base
	}
	if rest, ok := strings.CutPrefix(base, "0.0.0.0"); ok {
		base = "127.0.0.1" + rest
	}
	return "http://" + base
}

// Endpoint returns where requests of dialect d go for a provider of this row. base is its base_url, or what Base gave.
//
// A base_url may be written as any of the vendor's documents or SDKs write it: the bare host, the host with the vendor's
// own prefix ("/v1", "/anthropic"), or another address that ends in a version ("/v4"), which is then complete. Other
// paths are put before the vendor's own; those of kind custom are complete, as in OpenAI's SDKs, and get /v1 for
// Anthropic's dialects, as in Anthropic's.
//
// The errors are ErrBase and ErrDialect.
func (v *Vendor) Endpoint(base string, d Dialect) (Endpoint, error) {
	if !v.Speaks(d) {
		return Endpoint{}, fmt.Errorf("%w: kind %s does not speak %q; it speaks %s", ErrDialect, v.Kind, d, v.spoken())
	}
	u, err := parseBase(base)
	if err != nil {
		return Endpoint{}, err
	}
	u.Path = v.join(u.Path, d)
	return Endpoint{URL: u.String(), Auth: v.AuthFor(d), Dialect: d}, nil
}

func (v *Vendor) spoken() string {
	var names []string
	for _, d := range Dialects() {
		if v.Speaks(d) {
			names = append(names, string(d))
		}
	}
	return strings.Join(names, ", ")
}

// ProbeURL returns the address that answers 200 when a local server is up.
func (v *Vendor) ProbeURL(base string) (string, error) {
	if v.Probe == "" {
		return "", fmt.Errorf("%w: kind %s has no address to probe", ErrDialect, v.Kind)
	}
	u, err := parseBase(base)
	if err != nil {
		return "", err
	}
	u.Path = v.root(u.Path) + v.Probe
	return u.String(), nil
}

func parseBase(base string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(base))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %q is not a URL", ErrBase, base)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%w: %q: write it with http:// or https:// and a host", ErrBase, base)
	case u.User != nil:
		return nil, fmt.Errorf("%w: it holds a password: write it as api_key", ErrBase)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("%w: %q: leave out the query and the fragment", ErrBase, base)
	case u.RawPath != "":
		return nil, fmt.Errorf("%w: %q: leave out percent-encoded slashes", ErrBase, base)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}
