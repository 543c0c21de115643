package sheet_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/cmd/tollgate/sheet"
)

type row struct {
	Name string `json:"name"`
	Cost int    `json:"cost"`
}

var columns = []sheet.Column[row]{
	{Head: "name", Text: func(r row) string { return r.Name }},
	{Head: "cost", Text: func(r row) string { return fmt.Sprint(r.Cost) }},
}

func TestFormats(t *testing.T) {
	rows := []row{{"search", 12}, {"a,b \x1b[2J", 3}}
	for format, want := range map[string]string{
		"table": "NAME      COST\nsearch    12\na,b ?[2J  3\n",
		"jsonl": `{"name":"search","cost":12}` + "\n" + `{"name":"a,b \u001b[2J","cost":3}` + "\n",
		"csv":   "name,cost\nsearch,12\n\"a,b \x1b[2J\",3\n",
		"json":  "[\n  {\n    \"name\": \"search\",\n    \"cost\": 12\n  },\n  {\n    \"name\": \"a,b \\u001b[2J\",\n    \"cost\": 3\n  }\n]\n",
	} {
		var b bytes.Buffer
		if err := sheet.Print(&b, format, rows, columns); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%s: got\n%s\nwant\n%s", format, b.String(), want)
		}
	}
	for format, want := range map[string]string{"table": "NAME  COST\n", "json": "[]\n", "jsonl": "", "csv": "name,cost\n"} {
		var b bytes.Buffer
		if err := sheet.Print(&b, format, nil, columns); err != nil || b.String() != want {
			t.Errorf("nothing as %s: %q, %v", format, b.String(), err)
		}
	}
	if err := sheet.Print(&bytes.Buffer{}, "xml", rows, columns); err == nil {
		t.Error("an unknown format is taken")
	}
}

func TestSpreadsheetsRunNothing(t *testing.T) {
	for _, text := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", `=HYPERLINK("http://x","y")`} {
		var b bytes.Buffer
		if err := sheet.Print(&b, "csv", []row{{Name: text}}, columns); err != nil {
			t.Fatal(err)
		}
		cells, err := csv.NewReader(&b).ReadAll()
		if err != nil || !strings.HasPrefix(cells[1][0], "'") {
			t.Errorf("%q is written as %q, %v", text, cells, err)
		}
	}
	if got := sheet.Inert("gpt-5"); got != "gpt-5" {
		t.Errorf("a plain text becomes %q", got)
	}
}

// What is printed piece by piece is what is printed at once.
func TestPiecesMakeTheSame(t *testing.T) {
	var rows []row
	for i := range 2500 {
		rows = append(rows, row{fmt.Sprint("tool", i), i})
	}
	for _, format := range []string{"json", "jsonl", "csv"} {
		var whole, pieces bytes.Buffer
		if err := sheet.Print(&whole, format, rows, columns); err != nil {
			t.Fatal(err)
		}
		p, err := sheet.New(&pieces, format, columns)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(rows); i += 7 {
			if err := p.Add(rows[i:min(i+7, len(rows))]...); err != nil {
				t.Fatal(err)
			}
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(); err != nil || whole.String() != pieces.String() {
			t.Errorf("%s differs: %v", format, err)
		}
		if format == "json" && !json.Valid(pieces.Bytes()) {
			t.Error("not JSON")
		}
	}
}
