package price

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// ErrUnknownPrice means that nothing says what a model costs. The wrapped text says what to write in the config.
var ErrUnknownPrice = errors.New("unknown price")

//go:embed catalog.csv
var snapshot string

// Catalog holds list prices by vendor kind and model. Immutable, safe for concurrent use.
type Catalog struct {
	Version string // the day of the snapshot, "2006-01-02"
	rows    map[name][]dated
}

type name struct{ vendor, model string }

// dated is a price and the instant from which it holds, as Unix seconds; 0: always.
type dated struct {
	from  int64
	price *Price
}

// Embedded reads the catalog that is part of the program. It takes some milliseconds; keep the result.
func Embedded() (*Catalog, error) { return readCatalog(snapshot) }

// The columns of catalog.csv. Those between from and web_search are rates in the order of rateNames.
const columnLine = "vendor,model,from,input,output,cache_read,cache_write,cache_write_1h,reasoning,audio_input,audio_output,image,web_search,call,context,max_output,tiers,service,source"

const columns = 19

func readCatalog(text string) (*Catalog, error) {
	c := &Catalog{rows: map[name][]dated{}}
	line := 0
	for row := range strings.Lines(text) {
		line++
		row = strings.TrimSuffix(row, "\n")
		switch {
		case strings.HasPrefix(row, "#"):
			if _, day, ok := strings.Cut(row, " as of "); ok {
				c.Version = strings.TrimSuffix(day, ".")
			}
			continue
		case row == columnLine:
			continue
		}
		if err := c.add(strings.Split(row, ",")); err != nil {
			return nil, fmt.Errorf("price catalog, line %d: %w", line, err)
		}
	}
	if _, err := time.Parse(time.DateOnly, c.Version); err != nil {
		return nil, fmt.Errorf("price catalog: its first line names no day: %w", err)
	}
	for _, rows := range c.rows {
		for _, d := range rows {
			d.price.List, d.price.AsOf = c.Version, c.Version
		}
	}
	return c, nil
}

func (c *Catalog) add(cells []string) error {
	if len(cells) != columns {
		return fmt.Errorf("%d columns, want %d", len(cells), columns)
	}
	p := &Price{Name: cells[0] + "/" + cells[1], Source: cells[18]}
	d := dated{price: p}
	if cells[2] != "" {
		day, err := time.Parse(time.DateOnly, cells[2])
		if err != nil {
			return err
		}
		d.from = day.Unix()
	}
	known, err := readRates(&p.Rates, cells[3:12])
	if err != nil {
		return err
	}
	if known&(Input|Output) == 0 {
		return errors.New("neither an input nor an output price")
	}
	if err := readPieces(p, &known, cells[12:16]); err != nil {
		return err
	}
	if p.Tiers, err = readTiers(cells[16], p.Rates, known); err != nil {
		return err
	}
	if p.Service, err = readService(cells[17]); err != nil {
		return err
	}
	key := name{cells[0], cells[1]}
	rows := append(c.rows[key], d)
	slices.SortFunc(rows, func(a, b dated) int { return int(a.from - b.from) })
	if len(rows) > 1 && rows[len(rows)-2].from == rows[len(rows)-1].from {
		return fmt.Errorf("%s stands twice", p.Name)
	}
	c.rows[key] = rows
	p.build(known)
	return nil
}

// readRates reads the nine rates of cells and returns which were there.
func readRates(r *Rates, cells []string) (known Field, err error) {
	into := r.tokenRates()
	if len(cells) != len(into) {
		return 0, fmt.Errorf("%d rates, want %d", len(cells), len(into))
	}
	for i, cell := range cells {
		if cell == "" {
			continue
		}
		if *into[i], err = ParseRate(cell + " USD/1M"); err != nil {
			return 0, err
		}
		known |= 1 << i
	}
	return known, nil
}

// readPieces reads web_search, call, context and max_output.
func readPieces(p *Price, known *Field, cells []string) (err error) {
	for i, piece := range []struct {
		into  *ledger.Nano
		field Field
	}{{&p.Rates.WebSearch, WebSearch}, {&p.Rates.Call, Call}} {
		if cells[i] == "" {
			continue
		}
		if *piece.into, err = ParseMoney(cells[i] + " USD"); err != nil {
			return err
		}
		*known |= piece.field
	}
	for i, into := range []*int64{&p.Limits.Context, &p.Limits.Output} {
		if cells[2+i] == "" {
			continue
		}
		if *into, err = strconv.ParseInt(cells[2+i], 10, 64); err != nil || *into <= 0 {
			return fmt.Errorf("limit %q is no number of tokens", cells[2+i])
		}
	}
	return nil
}

// readTiers reads "200000:4/18/0.4//////": above, and the rates in the order of the columns. What is not per token is as
// in base.
func readTiers(cell string, base Rates, known Field) ([]Tier, error) {
	var tiers []Tier
	for text := range strings.FieldsSeq(cell) {
		above, rates, _ := strings.Cut(text, ":")
		t := Tier{Rates: base}
		var err error
		if t.Above, err = strconv.ParseInt(above, 10, 64); err != nil || t.Above <= 0 {
			return nil, fmt.Errorf("tier above %q", above)
		}
		got, err := readRates(&t.Rates, strings.Split(rates, "/"))
		if err != nil {
			return nil, err
		}
		const perToken = WebSearch - 1
		if got != known&perToken {
			return nil, fmt.Errorf("tier above %s prices other kinds than the row", above)
		}
		if len(tiers) > 0 && tiers[len(tiers)-1].Above >= t.Above {
			return nil, fmt.Errorf("tier above %s does not rise", above)
		}
		tiers = append(tiers, t)
	}
	return tiers, nil
}

// readService reads "batch=0.5 priority=2".
func readService(cell string) (map[string]Ratio, error) {
	var out map[string]Ratio
	for text := range strings.FieldsSeq(cell) {
		tier, factor, _ := strings.Cut(text, "=")
		n, err := parseUSD(factor+" USD", 1)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("service tier %q", text)
		}
		if out == nil {
			out = map[string]Ratio{}
		}
		out[tier] = Ratio{Num: n, Den: int64(ledger.USD)}
	}
	return out, nil
}

// Lookup returns what model costs at a vendor of that kind at the instant now, and whether that is known. A name counts
// as it stands or without a dated suffix (-2026-11-24, -20261124, @20261124), never otherwise.
func (c *Catalog) Lookup(kind, model string, now time.Time) (*Price, bool) {
	rows, ok := c.rows[name{kind, model}]
	if !ok {
		rows, ok = c.rows[name{kind, undated(model)}]
	}
	if !ok {
		return nil, false
	}
	p := (*Price)(nil)
	for _, d := range rows {
		if d.from <= now.Unix() {
			p = d.price
		}
	}
	return p, p != nil
}

// undated takes a dated suffix off a model's name. What is no day of this century stays.
func undated(model string) string {
	for _, layout := range []string{"-2006-01-02", "-20060102", "@20060102"} {
		at := len(model) - len(layout)
		if at <= 0 {
			continue
		}
		if day, err := time.Parse(layout, model[at:]); err == nil && day.Year() >= 2000 && day.Year() < 2100 {
			return model[:at]
		}
	}
	return model
}

// Models returns the names of a vendor's priced models, sorted.
func (c *Catalog) Models(kind string) []string {
	var out []string
	for n := range maps.Keys(c.rows) {
		if n.vendor == kind {
			out = append(out, n.model)
		}
	}
	slices.Sort(out)
	return out
}
