package conformance

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"
)

// ocsfClasses are the classes of events that entries become, by their numbers.
var ocsfClasses = map[string]string{"3001": "account_change", "3002": "authentication", "3004": "entity_management", "6003": "api_activity"}

// Every event that stands in the goldens of sinks holds against the published schema of its class, which allows no member
// that it does not name.
func TestOCSFEventsHoldAgainstThePublishedSchema(t *testing.T) {
	raw := map[string]json.RawMessage{}
	job := map[string]any{"version": "1.6.0", "classes": slices.Collect(maps.Values(ocsfClasses))}
	if err := python(t).Run(t.Context(), "ocsf.py", job, &raw); err != nil {
		t.Fatal(err)
	}
	classes := map[string]*jsonschema.Schema{}
	for uid, name := range ocsfClasses {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw[name]))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("urn:"+name, doc); err != nil {
			t.Fatal(err)
		}
		if classes[uid], err = c.Compile("urn:" + name); err != nil {
			t.Fatal(err)
		}
	}
	events, err := txtar.ParseFile(filepath.Join(root, "ledger/sink/shape/testdata/ocsf.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range events.Files {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(f.Data))
		if err != nil {
			t.Fatal(err)
		}
		event := v.(map[string]any)
		uid := event["class_uid"].(json.Number).String()
		class := classes[uid]
		if class == nil {
			t.Fatalf("%s is of class %s", f.Name, uid)
		}
		seen[uid] = true
		if err := class.Validate(event); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		event["surprise"] = 1
		if class.Validate(event) == nil {
			t.Errorf("the schema of class %s takes anything", uid)
		}
	}
	if len(seen) != len(classes) {
		t.Errorf("only %v were seen", seen)
	}
}
