package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate/tollgate/internal/strictyaml"
)

// Days is a time of whole days, such as 400d. Zero: it is not in the file.
type Days time.Duration

// daysMax bounds Days: a century, far below what a time.Duration holds.
const daysMax = 36_500

// UnmarshalYAML reads a number of days.
func (d *Days) UnmarshalYAML(n *yaml.Node) error {
	digits, ok := strings.CutSuffix(n.Value, "d")
	days, err := strconv.Atoi(digits)
	if !ok || err != nil || days < 1 || days > daysMax {
		return &strictyaml.Error{Line: n.Line, Text: fmt.Sprintf("%q is not a number of days: write 30d or 400d, at most %dd", n.Value, daysMax)}
	}
	*d = Days(days) * Days(24*time.Hour)
	return nil
}

func (d Days) String() string {
	if d == 0 {
		return "for ever"
	}
	return fmt.Sprintf("for %d days", d/Days(24*time.Hour))
}
