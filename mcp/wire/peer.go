package wire

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// Peer is what is known of a server once its era is settled. It is not changed after that.
type Peer struct {
	Era          upstream.Era
	Version      string
	Versions     []string // all it supports, when it said so
	Info         []byte   // serverInfo, a raw object; nil: not told
	Capabilities []byte   // raw object
	Instructions string

	Tools, Resources, Prompts, Logging bool // capabilities
	Subscribes                         bool // to resources
	Listens                            bool // it says it tells of changed lists
}

var capabilityPaths = strictjson.Compile("tools", "tools.listChanged", "resources", "resources.listChanged", "prompts", "prompts.listChanged", "logging", "resources.subscribe")

// declare reads the server's capabilities.
func (p *Peer) declare(raw []byte) error {
	var at [8]strictjson.Value
	if err := capabilityPaths.Scan(raw, answerLimits, at[:]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	p.Capabilities = raw
	p.Tools, p.Resources, p.Prompts, p.Logging = at[0].Present(), at[2].Present(), at[4].Present(), at[6].Present()
	p.Subscribes = at[7].Kind == 't'
	p.Listens = at[1].Kind == 't' || at[3].Kind == 't' || at[5].Kind == 't'
	return nil
}

var initializePaths = strictjson.Compile("protocolVersion", "capabilities", "serverInfo", "instructions")

// readInitialize reads the result of initialize.
func readInitialize(raw []byte) (*Peer, error) {
	var at [4]strictjson.Value
	if err := initializePaths.Scan(raw, answerLimits, at[:]); err != nil {
		return nil, err
	}
	p := &Peer{Era: upstream.Legacy}
	var err error
	if p.Version, err = text(at[0], raw); err != nil {
		return nil, fmt.Errorf("protocolVersion: %w", err)
	}
	if !slices.Contains(legacyVersions[:], p.Version) {
		return nil, errNoVersion
	}
	p.about(at[2], at[3], raw)
	return p, p.declare(objectOr(at[1], raw))
}

var discoverPaths = strictjson.Compile("supportedVersions", "capabilities", "instructions", "_meta")

// readDiscover reads the result of server/discover. A server may answer it and yet speak no version that has it: then
// the peer's versions lack the modern one.
func readDiscover(raw []byte) (*Peer, error) {
	var at [4]strictjson.Value
	if err := discoverPaths.Scan(raw, answerLimits, at[:]); err != nil {
		return nil, err
	}
	p := &Peer{Era: upstream.Modern, Version: ModernVersion, Versions: texts(raw, at[0])}
	if p.Versions == nil {
		return nil, errors.New("supportedVersions is missing")
	}
	p.about(strictjson.Lookup(raw, at[3], "io.modelcontextprotocol/serverInfo"), at[2], raw)
	return p, p.declare(objectOr(at[1], raw))
}

// errNoVersion means that server and gateway speak no common version.
var errNoVersion = errors.New("no common protocol version")

func (p *Peer) about(info, instructions strictjson.Value, raw []byte) {
	if info.Kind == '{' {
		p.Info = info.In(raw)
	}
	if s, err := text(instructions, raw); err == nil {
		p.Instructions = s
	}
}

func objectOr(v strictjson.Value, raw []byte) []byte {
	if v.Kind == '{' {
		return v.In(raw)
	}
	return []byte("{}")
}

// texts are the strings of the array v of raw; what is no string is left out.
func texts(raw []byte, v strictjson.Value) []string {
	var out []string
	for _, e := range strictjson.Elements(raw, v) {
		if s, err := text(e, raw); err == nil {
			out = append(out, s)
		}
	}
	return out
}

var supportedPaths = strictjson.Compile("data.supported")

// Supported are the versions that a -32022 error names.
func Supported(e *upstream.RPCError) []string {
	var at [1]strictjson.Value
	if err := supportedPaths.Scan(e.Raw, answerLimits, at[:]); err != nil {
		return nil
	}
	return texts(e.Raw, at[0])
}

// Initialize is the params of initialize: the newest version that has it, and what the server may ask. version is the
// one that the server is known to speak; empty: it is not known yet.
func Initialize(self []byte, able Abilities, version string) []byte {
	if version == "" {
		version = newestLegacy
	}
	b := append([]byte(`{"protocolVersion":"`+newestLegacy+`","capabilities":`), able.declared(version)...)
	b = append(append(b, `,"clientInfo":`...), self...)
	return append(b, '}')
}

// Hello reads the answer to initialize.
func Hello(c *upstream.Config, a *upstream.Answer) (*Peer, error) {
	if a.Error != nil {
		f := c.Fault(upstream.Garbage, a.Error, "refused to open a session (error %d)", a.Error.Code)
		f.HTTP = a.Error.HTTP
		return nil, f
	}
	p, err := readInitialize(a.Result)
	switch {
	case errors.Is(err, errNoVersion):
		return nil, c.Fault(upstream.Garbage, err, "speaks no protocol version that the gateway speaks")
	case err != nil:
		return nil, c.Fault(upstream.Garbage, err, "answered initialize with something else")
	}
	return p, nil
}
