package demo

import (
	"context"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // the child may run where the system has no zones

	sdk "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/tollgate/tollgate/mcp/demo/calc"
)

func addClock(s *server.MCPServer) {
	zone := sdk.WithString("zone", sdk.Description(`Time zone of the IANA database, such as "Europe/Berlin"; UTC if left out`), sdk.MaxLength(64))
	addTool(s, "now", "The current time in a time zone.", now, readOnly(zone)...)
	addTool(s, "time_between", "How much time lies between two moments.", between, readOnly(zone,
		sdk.WithString("from", sdk.Required(), sdk.MaxLength(64), sdk.Description(`"2026-03-01T10:00:00Z", "2026-03-01 10:00" or "2026-03-01", the latter two in the zone given`)),
		sdk.WithString("to", sdk.Required(), sdk.MaxLength(64), sdk.Description("In the same forms")))...)
}

func addCalculator(s *server.MCPServer) {
	addTool(s, "calculate", "Evaluate an arithmetic expression: + - * / % ^, parentheses, pi, e, and functions such as sqrt, round, "+
		"min, max, ln, sin. Fractions are exact.", calculate,
		readOnly(sdk.WithString("expression", sdk.Required(), sdk.Description(`Such as "(1/3 + 2) * 3^4"`)))...)
}

type moment struct {
	Time    string `json:"time"`
	Zone    string `json:"zone"`
	Weekday string `json:"weekday"`
	Unix    int64  `json:"unix"`
}

func now(_ context.Context, args struct {
	Zone string `json:"zone"`
}) (moment, error) {
	zone, err := location(args.Zone)
	if err != nil {
		return moment{}, err
	}
	t := time.Now().In(zone)
	return moment{Time: t.Format(time.RFC3339), Zone: zone.String(), Weekday: t.Weekday().String(), Unix: t.Unix()}, nil
}

func location(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf(`unknown time zone %q: use a name such as "Europe/Berlin"`, name)
	}
	return zone, nil
}

type span struct {
	Seconds int64  `json:"seconds"` // negative: to is before from
	Text    string `json:"text"`
}

func between(_ context.Context, args struct {
	From string `json:"from"`
	To   string `json:"to"`
	Zone string `json:"zone"`
}) (span, error) {
	zone, err := location(args.Zone)
	if err != nil {
		return span{}, err
	}
	from, err := instant(args.From, zone)
	if err != nil {
		return span{}, fmt.Errorf("from: %w", err)
	}
	to, err := instant(args.To, zone)
	if err != nil {
		return span{}, fmt.Errorf("to: %w", err)
	}
	seconds := to.Unix() - from.Unix() // a time.Duration would end after 292 years
	return span{Seconds: seconds, Text: words(seconds)}, nil
}

func instant(text string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New(`not a moment: write it like "2026-03-01T10:00:00Z" or "2026-03-01 10:00"`)
}

// words says seconds in days, hours, minutes and seconds.
func words(seconds int64) string {
	sign := ""
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	return fmt.Sprintf("%s%d days %d hours %d minutes %d seconds", sign, seconds/day, seconds%day/hour, seconds%hour/minute, seconds%minute)
}

type value struct {
	Expression string `json:"expression"`
	Value      string `json:"value"` // decimal digits, which a JSON number could not carry
}

func calculate(_ context.Context, args struct {
	Expression string `json:"expression"`
}) (value, error) {
	v, err := calc.Eval(args.Expression)
	return value{args.Expression, v}, err
}
