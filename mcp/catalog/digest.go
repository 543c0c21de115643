package catalog

import (
	"encoding/json"
	"fmt"
	"strings"

	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// The bounds of definitions. Every client reads all of them before its first call, and most put them into a model's
// context, so they are tight.
const (
	toolsMax         = 512 // per server; as many prompts
	resourcesMax     = 4096
	toolNameMax      = 64 // characters: what the strictest LLM APIs accept for a function name
	promptNameMax    = 128
	uriBytesMax      = 2 << 10
	descriptionMax   = 4 << 10
	schemaBytesMax   = 64 << 10
	definitionMax    = 192 << 10 // all of a definition, icons included
	instructionsMax  = 8 << 10
	withheldShownMax = 100
)

// Override says about one tool what its server does not say or is not believed to say. Nil fields override nothing.
type Override struct {
	ReadOnly    *bool
	Destructive *bool
	Idempotent  *bool
	OpenWorld   *bool
	Price       *ledger.Nano // per call; goes before the server's price
}

// Source is what the config says of a server.
type Source struct {
	Server  string
	Trusted bool
	Price   ledger.Nano
	Tools   map[string]Override // by the server's own name of the tool
}

// Shelf is what one server offers. Immutable.
type Shelf struct {
	Server        string
	Lists         [Kinds][]*Entry
	Withheld      []string // what is not served, each with the reason
	Completions   bool
	HasResources  bool
	Subscriptions bool              // it tells of changes of its resources
	Extensions    map[string][]byte // settings, a raw object, by the extension's name
	Instructions  string
}

// digester applies the rules to one server's lists.
type digester struct {
	src     Source
	shelf   *Shelf
	dropped int
}

// Digest applies the rules to what a server offers.
func Digest(src Source, o *upstream.Offer) *Shelf {
	d := &digester{src: src, shelf: &Shelf{Server: src.Server}}
	d.capabilities(o)
	d.list(Tools, o.Tools, toolsMax, d.tool)
	d.list(Prompts, o.Prompts, toolsMax, d.prompt)
	d.list(Resources, o.Resources, resourcesMax, d.resource)
	d.list(Templates, o.Templates, resourcesMax, d.resource)
	if d.dropped > 0 {
		d.shelf.Withheld = append(d.shelf.Withheld, fmt.Sprintf("and %d more", d.dropped))
	}
	return d.shelf
}

func (d *digester) capabilities(o *upstream.Offer) {
	for name, v := range rpc.Members(o.Capabilities) {
		switch string(name) {
		case "completions":
			d.shelf.Completions = v.Kind == '{'
		case "resources":
			d.shelf.HasResources = v.Kind == '{'
			d.shelf.Subscriptions = strictjson.Lookup(o.Capabilities, v, "subscribe").Kind == 't'
		case "extensions":
			d.shelf.Extensions = extensionsOf(v.In(o.Capabilities), o.Era)
		}
	}
	if len(o.Instructions) > instructionsMax || hidden(rpc.String(o.Instructions)) != "" {
		d.withhold("instructions", "", fmt.Errorf("longer than %d bytes or with hidden characters", instructionsMax))
		return
	}
	d.shelf.Instructions = o.Instructions
}

func (d *digester) withhold(noun, name string, why error) {
	if len(d.shelf.Withheld) >= withheldShownMax {
		d.dropped++
		return
	}
	what := noun
	if name != "" {
		what = fmt.Sprintf("%s %+.80q", noun, name)
	}
	d.shelf.Withheld = append(d.shelf.Withheld, what+": "+why.Error())
}

// list digests one list: each definition by read, then the names against each other.
func (d *digester) list(k Kind, raws [][]byte, most int, read func(Kind, []byte) (*Entry, error)) {
	if len(raws) > most {
		d.withhold(k.noun()+"s", "", fmt.Errorf("%d of them; the first %d are served", len(raws), most))
		raws = raws[:most]
	}
	var good []*Entry
	seen := map[string]int{}
	for i, raw := range raws {
		e, err := read(k, raw)
		if err != nil {
			name := fmt.Sprintf("number %d", i+1)
			if e != nil && e.Name != "" {
				name = e.Name
			}
			d.withhold(k.noun(), name, err)
			continue
		}
		good = append(good, e)
		seen[fold(k, e.Name)]++
	}
	for _, e := range good {
		if seen[fold(k, e.Name)] > 1 {
			d.withhold(k.noun(), e.Name, fmt.Errorf("another %s has this name or one that looks like it", k.noun()))
			continue
		}
		d.shelf.Lists[k] = append(d.shelf.Lists[k], e)
	}
}

// fold maps names that look alike to one text. URIs are not read by people one beside the other and differ as they do.
func fold(k Kind, name string) string {
	if k == Resources || k == Templates {
		return name
	}
	return LooksLike(name)
}

// LooksLike maps names that a person or a model could take for each other to one text: case, 0 and o, 1 and l.
func LooksLike(name string) string {
	return strings.NewReplacer("0", "o", "1", "l").Replace(strings.ToLower(name))
}

// The members of a definition that rules are about.
const (
	defName = iota
	defURI
	defTemplate
	defTitle
	defDescription
	defInput
	defInputType
	defOutput
	defOutputType
	defReadOnly
	defDestructive
	defIdempotent
	defOpenWorld
	defFields
)

var defPaths = strictjson.Compile("name", "uri", "uriTemplate", "title", "description", "inputSchema", "inputSchema.type",
	"outputSchema", "outputSchema.type", "annotations.readOnlyHint", "annotations.destructiveHint",
	"annotations.idempotentHint", "annotations.openWorldHint")

// definition is one raw definition with its governed members.
type definition struct {
	raw []byte
	at  [defFields]strictjson.Value
}

// define reads what holds for all kinds. name is the text of the member that names it.
func define(raw []byte, by int) (def *definition, name string, err error) {
	def = &definition{raw: raw}
	if len(raw) > definitionMax {
		return nil, "", fmt.Errorf("longer than %d bytes", definitionMax)
	}
	if err := defPaths.Scan(raw, strictjson.Limits{}, def.at[:]); err != nil {
		return nil, "", fmt.Errorf("not a definition: %w", err)
	}
	name, ok := def.text(by)
	if !ok || name == "" {
		return nil, "", fmt.Errorf("it has no name")
	}
	for _, f := range [...]int{defTitle, defDescription} {
		if v := def.at[f]; v.Present() && v.Kind != '"' && v.Kind != 'n' {
			return nil, name, fmt.Errorf("title and description must be strings")
		}
	}
	if v := def.at[defDescription]; v.End-v.Start > descriptionMax {
		if text, _ := def.text(defDescription); len(text) > descriptionMax {
			return nil, name, fmt.Errorf("its description is longer than %d bytes", descriptionMax)
		}
	}
	if r := hidden(raw); r != "" {
		return nil, name, fmt.Errorf("it contains the hidden character %s", r)
	}
	return def, name, nil
}

func (def *definition) text(f int) (string, bool) {
	v := def.at[f]
	if v.Kind != '"' {
		return "", false
	}
	s, err := strictjson.Unquote(v.In(def.raw))
	return s, err == nil
}

func (d *digester) tool(k Kind, raw []byte) (*Entry, error) {
	def, name, err := define(raw, defName)
	e := &Entry{Kind: k, Server: d.src.Server, Name: name}
	if err != nil {
		return e, err
	}
	if err := toolName(d.src.Server, name); err != nil {
		return e, err
	}
	if err := def.schemas(); err != nil {
		return e, err
	}
	if e.Headers, err = headerTool(name, def.at[defInput].In(raw)); err != nil {
		return e, err
	}
	e.Tool, e.Price = d.judged(def, name), d.src.Price
	if o, ok := d.src.Tools[name]; ok && o.Price != nil {
		e.Price = *o.Price
	}
	e.sum, e.page = sumOf(raw), pageOf(raw)
	e.bare = item{raw, def.legacy(raw)}
	exposed := def.renamed(rpc.String(e.Exposed(true)))
	e.prefixed = item{exposed, def.legacy(exposed)}
	return e, nil
}

func toolName(server, name string) error {
	if n := len(server) + len(sep) + len(name); n > toolNameMax {
		return fmt.Errorf("its exposed name has %d characters; %d is the most", n, toolNameMax)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return fmt.Errorf("its name has characters other than A-Z a-z 0-9 _ -")
		}
	}
	return nil
}

func (def *definition) schemas() error {
	for _, f := range [...]int{defInput, defOutput} {
		if v := def.at[f]; v.End-v.Start > schemaBytesMax {
			return fmt.Errorf("its schema is longer than %d bytes", schemaBytesMax)
		}
	}
	if t, _ := def.text(defInputType); def.at[defInput].Kind != '{' || t != "object" {
		return fmt.Errorf("its inputSchema is not of type object")
	}
	if v := def.at[defOutput]; v.Present() && v.Kind != '{' {
		return fmt.Errorf("its outputSchema is no object")
	}
	return nil
}

// headerTool returns the tool in the form the header checks need, or nil when its schema maps nothing to headers.
func headerTool(name string, schema []byte) (*sdk.Tool, error) {
	if !strings.Contains(string(schema), "x-mcp-header") {
		return nil, nil
	}
	t := &sdk.Tool{Name: name, RawInputSchema: json.RawMessage(schema)}
	if err := sdk.ValidateParamHeaderAnnotations(t); err != nil {
		return nil, fmt.Errorf("its x-mcp-header annotations are invalid")
	}
	if len(sdk.ExtractParamHeaderBindings(t)) == 0 {
		return nil, nil
	}
	return t, nil
}

// judged is what rules see of a tool: the config's word, else a trusted server's own, else the worst.
func (d *digester) judged(def *definition, name string) policy.Tool {
	t := policy.Tool{Server: d.src.Server, Name: name, Kind: "tool", Destructive: true, OpenWorld: true, Trusted: d.src.Trusted}
	o := d.src.Tools[name]
	hint := func(f int, override *bool, otherwise bool) bool {
		switch k := def.at[f].Kind; {
		case override != nil:
			return *override
		case d.src.Trusted && (k == 't' || k == 'f'):
			return k == 't'
		}
		return otherwise
	}
	t.ReadOnly = hint(defReadOnly, o.ReadOnly, false)
	// What changes nothing destroys nothing and may be repeated, unless it is said otherwise.
	t.Destructive = hint(defDestructive, o.Destructive, !t.ReadOnly)
	t.Idempotent = hint(defIdempotent, o.Idempotent, t.ReadOnly)
	t.OpenWorld = hint(defOpenWorld, o.OpenWorld, true)
	return t
}

// renamed returns the definition under another name, a JSON string.
func (def *definition) renamed(exposed []byte) []byte {
	return strictjson.Splice(def.raw, strictjson.Replace(def.at[defName], exposed))
}

// legacy returns the definition as clients before 2026-07-28 can read it: their schemas want an object for output.
func (def *definition) legacy(raw []byte) []byte {
	if t, _ := def.text(defOutputType); def.at[defOutput].Present() && t != "object" {
		return rpc.With(raw, strictjson.Change{Name: "outputSchema"})
	}
	return raw
}

func (d *digester) prompt(k Kind, raw []byte) (*Entry, error) {
	def, name, err := define(raw, defName)
	e := &Entry{Kind: k, Server: d.src.Server, Name: name}
	if err != nil {
		return e, err
	}
	if n := len(d.src.Server) + len(sep) + len(name); n > promptNameMax {
		return e, fmt.Errorf("its exposed name has %d characters; %d is the most", n, promptNameMax)
	}
	for _, c := range []byte(name) {
		if c < 0x20 || c > 0x7e {
			return e, fmt.Errorf("its name is not printable ASCII")
		}
	}
	e.Tool = readable(d.src, "prompt", name)
	e.sum = sumOf(raw)
	renamed := def.renamed(rpc.String(e.Exposed(true)))
	e.bare, e.prefixed = item{raw, raw}, item{renamed, renamed}
	return e, nil
}

// resource reads a resource or a template: they keep their URIs.
func (d *digester) resource(k Kind, raw []byte) (*Entry, error) {
	by := defURI
	if k == Templates {
		by = defTemplate
	}
	def, uri, err := define(raw, by)
	e := &Entry{Kind: k, Server: d.src.Server, Name: uri}
	if err != nil {
		return e, err
	}
	if len(uri) > uriBytesMax {
		return e, fmt.Errorf("its URI is longer than %d bytes", uriBytesMax)
	}
	if name, ok := def.text(defName); !ok || name == "" {
		return e, fmt.Errorf("it has no name")
	}
	e.Tool = readable(d.src, "resource", uri)
	e.sum = sumOf(raw)
	e.bare = item{raw, raw}
	e.prefixed = e.bare
	return e, nil
}

// readable is what rules see of a resource or prompt: it is read, never called to act.
func readable(src Source, kind, name string) policy.Tool {
	return policy.Tool{Server: src.Server, Name: name, Kind: kind, ReadOnly: true, Idempotent: true, OpenWorld: true, Trusted: src.Trusted}
}
