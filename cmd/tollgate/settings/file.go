package settings

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate/tollgate/internal/strictyaml"
	"github.com/tollgate/tollgate/llm/price"
)

// File is the config file. A key that is not here is an error. Paths are relative to the file; secrets are references:
// env:NAME or file:PATH. What is declared here is read-only everywhere else.
type File struct {
	// Version of the file's form: 1.
	Version int `yaml:"version"`

	// Listen is the address for agents. Port 0 takes a free one and prints it. Default 127.0.0.1:8787.
	Listen string `yaml:"listen"`

	// Admin is the page for operators: /metrics, health, /api/v1.
	Admin Admin `yaml:"admin"`

	// PublicURL is how agents reach the gateway. Its host is an allowed Host header. Default http://LISTEN.
	PublicURL string `yaml:"public_url"`

	// Hosts are further allowed Host headers, without port. Loopback names are allowed on a loopback listener.
	Hosts []string `yaml:"hosts"`

	// Origins are the web pages that may call the gateway from a browser, as scheme://host[:port].
	Origins []string `yaml:"origins"`

	// Data is the directory of the journal, the index and the minted keys. Default ./data.
	Data string `yaml:"data"`

	// Database is what makes this gateway one of several replicas, which share keys, links and limits in it: the URL of a
	// PostgreSQL database, postgres://user@host:5432/name, or a reference to it when it holds a password. Default: this
	// gateway stands alone.
	Database string `yaml:"database"`

	// SecretKey is a reference to the secret that all replicas share; 32 characters or more. With database it is required.
	SecretKey string `yaml:"secret_key"`

	// Advertise is host:port at which the other replicas reach listen of this one: a call that waits and a session of an older
	// client are passed on to the replica that has them. The network between them is to be private. Port 0 stands for the
	// one that listen has got. With database it is required.
	Advertise string `yaml:"advertise"`

	// Offline is how long a replica goes on without contact with the database, and so how long a revoked key may still work
	// there; 1s to 60s. Then it refuses all calls until the database is back. Default 5s.
	Offline Duration `yaml:"offline"`

	// Durability says when an entry must be on disk: overlap (before the first byte of the answer is shown), strict (before
	// the call leaves) or relaxed (within 100 ms). Default overlap.
	Durability string `yaml:"durability"`

	// Retention is how long entries stay in the journal, such as 400d. What is older, and was read by the index, the proof and
	// all sinks, is removed day by day. Default: for ever.
	Retention Days `yaml:"retention"`

	// IndexRetention is how long calls can be listed, and their use asked for by hour, such as 90d. Use by day stays for five
	// years at least. Default: as long as retention.
	IndexRetention Days `yaml:"index_retention"`

	// Checkpoints says how the ledger is proved: what is signed how often, and where the signatures go.
	Checkpoints Checkpoints `yaml:"checkpoints"`

	// Timezone is that of calendar windows (1d, 1w, 1M, 1Q, 1Y), such as Europe/Berlin. Default UTC.
	Timezone string `yaml:"timezone"`

	// Anonymous names the key that requests without a credential act as. Loopback listeners only. Default: refused.
	Anonymous string `yaml:"anonymous"`

	// Unpriced says what happens to a model without a price: deny (the default) or allow, which records its tokens and no
	// cost.
	Unpriced string `yaml:"unpriced"`

	// Providers are the vendors of models. The name is the first part of provider/model.
	Providers map[string]*Provider `yaml:"providers"`

	// Models are aliases: a name and the targets it stands for.
	Models map[string][]Target `yaml:"models"`

	// Servers are the MCP servers. The name is the prefix of their tools: server__tool.
	Servers map[string]*Server `yaml:"servers"`

	// Profiles are named selections of servers, served at /mcp/NAME.
	Profiles map[string]*Profile `yaml:"profiles"`

	// Customers, Teams and Users carry limits for the keys that belong to them.
	Customers map[string]*Customer `yaml:"customers"`
	Teams     map[string]*Team     `yaml:"teams"`
	Users     map[string]*User     `yaml:"users"`

	// Keys are virtual keys whose secret the operator chooses. More can be minted at run time.
	Keys map[string]*Key `yaml:"keys"`

	// Sinks are copies of the ledger elsewhere: files, object stores, log collectors, SIEMs, queues.
	Sinks map[string]*Sink `yaml:"sinks"`

	// Payloads says what is kept of what calls carry. Default: nothing.
	Payloads Payloads `yaml:"payloads"`

	// Policies is the directory of the rules. Without it nothing may be called.
	Policies string `yaml:"policies"`
}

// Admin is where operators look.
type Admin struct {
	// Listen is the address; "off" leaves only the socket admin.sock in the data directory. Default 127.0.0.1:8788.
	Listen string `yaml:"listen"`
}

// Provider is one account at one vendor of models.
type Provider struct {
	// Kind is the vendor, a row of the provider table. Default: the provider's name.
	Kind string `yaml:"kind"`

	// APIKey is a reference to the credential.
	APIKey string `yaml:"api_key"`

	// BaseURL replaces the vendor's, up to and without the dialect's path. The address may be private.
	BaseURL string `yaml:"base_url"`

	// Dialects replaces what the vendor speaks: chat, responses, messages, embeddings, count_tokens.
	Dialects []string `yaml:"dialects"`

	// Models are the models it has, by the vendor's names. With it bare names are known before the provider is asked.
	Models []string `yaml:"models"`

	// Price is that of every model without a row in Prices: 0, or amounts per unit.
	Price *Price `yaml:"price"`

	// Prices are those of single models. They go before the catalog.
	Prices map[string]*Price `yaml:"prices"`

	// Unpriced overrides the setting of the same name for this provider.
	Unpriced string `yaml:"unpriced"`

	// OnDisconnect says what happens when the client leaves in mid-answer: cancel (the default) or drain, which reads on
	// for a bounded time so that the true usage is known.
	OnDisconnect string `yaml:"on_disconnect"`

	// FirstByte is how long to wait for the first byte of an answer. Default 10m.
	FirstByte Duration `yaml:"first_byte"`

	// Connections is how many may be open at once; calls beyond wait for one to be free. Default 1024.
	Connections int `yaml:"connections"`

	// Payloads is what is kept of calls to it: off, digest, redacted or full. See payloads.mode.
	Payloads string `yaml:"payloads"`
}

// Target is one model that an alias may stand for.
type Target struct {
	// Use is provider/model.
	Use string `yaml:"use"`
	// Weight is its share among the targets of its tier. Default 1.
	Weight int `yaml:"weight"`
	// Tier is the group it is in: a higher one is tried when all of the lower have failed. Default 1.
	Tier int `yaml:"tier"`
}

// Server is one MCP server: by URL, or a command that speaks MCP on its standard input and output.
type Server struct {
	URL string `yaml:"url"`

	// Command is the argv of a child process; no shell is involved.
	Command []string `yaml:"command"`
	// Dir is the command's working directory. Default: a temporary one.
	Dir string `yaml:"dir"`
	// Env is its environment beside PATH, LANG and HOME, which is a directory of its own under data: literals, or references
	// to secrets.
	Env map[string]string `yaml:"env"`

	// Sessions says who shares a child. With principal, the default, a caller that the server may ask something or tell
	// something beside its answers (elicitation, sampling, roots, logs, subscriptions) has one of its own; with shared one
	// serves all, and may do none of that.
	Sessions string `yaml:"sessions"`

	Auth ServerAuth `yaml:"auth"`

	// Era forces the protocol era: legacy or modern. Default auto.
	Era string `yaml:"era"`
	// Timeout is that of one call. Default 10m.
	Timeout Duration `yaml:"timeout"`

	// Trusted says that its tool annotations (readOnlyHint and so on) count in policy.
	Trusted bool `yaml:"trusted"`
	// Price is that of each tool call. Default 0.
	Price *Price `yaml:"price"`
	// Payloads is what is kept of calls to it: off, digest, redacted or full. See payloads.mode.
	Payloads string `yaml:"payloads"`
	// Tools says about single tools, by the server's own names, what the server does not.
	Tools map[string]*Tool `yaml:"tools"`
}

// ServerAuth is the credential of a server.
type ServerAuth struct {
	// Bearer is a reference; it is sent as Authorization: Bearer.
	Bearer string `yaml:"bearer"`
	// Headers are references by header name.
	Headers map[string]string `yaml:"headers"`
}

// Tool overrides what is known of one tool.
type Tool struct {
	ReadOnly    *bool  `yaml:"read_only"`
	Destructive *bool  `yaml:"destructive"`
	Idempotent  *bool  `yaml:"idempotent"`
	OpenWorld   *bool  `yaml:"open_world"`
	Price       *Price `yaml:"price"`
}

// Profile is a selection of servers.
type Profile struct {
	Servers []string `yaml:"servers"`
}

// Customer is who is billed in the end.
type Customer struct {
	Limits []Limit `yaml:"limits"`
}

// Team is a group of keys.
type Team struct {
	Customer string  `yaml:"customer"`
	Limits   []Limit `yaml:"limits"`
}

// User is a person; keys may act for one.
type User struct {
	Limits []Limit `yaml:"limits"`
}

// Key is a virtual key.
type Key struct {
	// Secret is a reference; the secret has 20 characters or more.
	Secret string   `yaml:"secret"`
	Team   string   `yaml:"team"`
	User   string   `yaml:"user"`
	Tags   []string `yaml:"tags"`
	Limits []Limit  `yaml:"limits"`
	// Expires is a date (its first moment in UTC) or an RFC 3339 time.
	Expires Time `yaml:"expires"`
	// Tools and Models narrow what the rules allow: one expression each, over tool and over model.
	Tools  string `yaml:"tools"`
	Models string `yaml:"models"`
	// Payloads is what is kept of its calls, before all that servers and providers say: off, digest, redacted or full.
	Payloads string `yaml:"payloads"`
}

// Limit is an amount per window, in the short form "5 USD / 1d" or the long one, which says on what.
type Limit struct {
	Text string
	On   []string
	Line int
}

// UnmarshalYAML reads both forms.
func (l *Limit) UnmarshalYAML(n *yaml.Node) error {
	l.Line = n.Line
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&l.Text)
	}
	var long struct {
		Limit string   `yaml:"limit"`
		On    []string `yaml:"on"`
	}
	if err := strictyaml.Node(n, &long); err != nil {
		return err
	}
	l.Text, l.On = long.Limit, long.On
	if l.Text == "" {
		return &strictyaml.Error{Line: n.Line, Text: `write the limit as limit: "5 USD / 1d"`}
	}
	return nil
}

// Duration is a time span such as 30s or 10m.
type Duration time.Duration

// UnmarshalYAML reads Go's form of durations.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || v <= 0 {
		return &strictyaml.Error{Line: n.Line, Text: fmt.Sprintf("%q is not a duration: write 30s, 10m or 1h", n.Value)}
	}
	*d = Duration(v)
	return nil
}

// Time is a date or a time.
type Time struct{ time.Time }

// UnmarshalYAML reads a date or an RFC 3339 time.
func (t *Time) UnmarshalYAML(n *yaml.Node) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if v, err := time.Parse(layout, n.Value); err == nil {
			t.Time = v
			return nil
		}
	}
	return &strictyaml.Error{Line: n.Line, Text: fmt.Sprintf("%q is not a date: write 2027-01-31 or 2027-01-31T12:00:00Z", n.Value)}
}

// Price is what a model or a tool call costs: 0, an amount per call, or amounts by kind.
type Price struct{ *price.Price }

// UnmarshalYAML reads both forms.
func (p *Price) UnmarshalYAML(n *yaml.Node) (err error) {
	if n.Kind == yaml.ScalarNode {
		p.Price, err = price.ParseScalar(n.Value)
		return at(n, err)
	}
	fields := map[string]string{}
	if err := strictyaml.Node(n, &fields); err != nil {
		return err
	}
	p.Price, err = price.Parse(fields)
	return at(n, err)
}

// at gives an error the line of n.
func at(n *yaml.Node, err error) error {
	if err == nil {
		return nil
	}
	return &strictyaml.Error{Line: n.Line, Text: err.Error()}
}
