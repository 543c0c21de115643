package settings

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate/tollgate/llm/price"
)

const reference = "../../../examples/reference.yaml"

// loadReference reads the reference config in a copy whose directories and secrets exist.
func loadReference(t *testing.T) *Setup {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tollgate.yaml", strings.ReplaceAll(string(text), "/srv/docs", dir))
	write("secrets/anthropic", "key-of-anthropic\n")
	write("secrets/local", "a-key-for-whoever-is-local\n")
	server := httptest.NewTLSServer(nil)
	server.Close()
	write("secrets/siem-ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	rules, err := os.ReadFile("../../../examples/policies/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write("policies/base.yaml", string(rules))
	for _, name := range []string{"GROQ_API_KEY", "OPENAI_API_KEY", "WORK_OPENAI_API_KEY", "FILES_TOKEN", "INTERNAL_TOKEN", "INTERNAL_KEY", "CI_BOT_KEY", "TOLLGATE_SECRET_KEY", "TOLLGATE_KEK", "TOLLGATE_KEK_BEFORE",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OTLP_AUTHORIZATION", "WEBHOOK_SECRET", "SPLUNK_HEC_TOKEN", "KAFKA_PASSWORD", "TOLLGATE_CHECKPOINT_KEY", "CHECKPOINT_WEBHOOK_SECRET"} {
		t.Setenv(name, "the-value-of-the-variable-"+name)
	}
	catalog, err := price.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(filepath.Join(dir, "tollgate.yaml"), catalog)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReferenceConfigIsWhatTheProgramReads(t *testing.T) {
	s := loadReference(t)
	for _, w := range s.Warnings {
		t.Errorf("the reference should need no warning: %s", w)
	}
	if len(s.Keys) != 2 || len(s.Servers) != 2 || len(s.Routes.Providers) != 5 || len(s.KeyLimits["ci-bot"]) != 5 {
		t.Errorf("%d keys, %d servers, %d providers, %d limits of ci-bot", len(s.Keys), len(s.Servers), len(s.Routes.Providers), len(s.KeyLimits["ci-bot"]))
	}
	if err := s.Describe(new(strings.Builder), "reference.yaml"); err > 1 { // npx may be missing on the machine of the test
		t.Errorf("%d things are missing", err)
	}
}

// Every key of the file's form stands in the reference.
func TestReferenceShowsEveryKey(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	var walk func(n *yaml.Node, typ reflect.Type, path string)
	walk = func(n *yaml.Node, typ reflect.Type, path string) {
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		switch {
		case n.Kind == yaml.SequenceNode && typ.Kind() == reflect.Slice:
			for _, item := range n.Content {
				walk(item, typ.Elem(), path)
			}
		case n.Kind == yaml.MappingNode && typ.Kind() == reflect.Map:
			for i := 1; i < len(n.Content); i += 2 {
				walk(n.Content[i], typ.Elem(), path+".NAME")
			}
		case n.Kind == yaml.MappingNode && typ.Kind() == reflect.Struct:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i].Value
				shown[path+"."+key] = true
				if f, ok := fieldOf(typ, key); ok {
					walk(n.Content[i+1], f, path+"."+key)
				}
			}
		}
	}
	walk(root.Content[0], reflect.TypeFor[File](), "")
	for _, key := range keysOf(reflect.TypeFor[File](), "") {
		if !shown[key] {
			t.Errorf("%s is not in %s", strings.TrimPrefix(key, "."), reference)
		}
	}
}

func fieldOf(typ reflect.Type, key string) (reflect.Type, bool) {
	for _, field := range reflect.VisibleFields(typ) {
		if field.Tag.Get("yaml") == key {
			return field.Type, true
		}
	}
	return nil, false
}

// keysOf lists the keys below typ, as paths in which names are NAME.
func keysOf(typ reflect.Type, path string) []string {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice:
		return keysOf(typ.Elem(), path)
	case reflect.Map:
		return keysOf(typ.Elem(), path+".NAME")
	case reflect.Struct:
		var keys []string
		for i := range typ.NumField() {
			if tag := typ.Field(i).Tag.Get("yaml"); tag == ",inline" {
				keys = append(keys, keysOf(typ.Field(i).Type, path)...)
			} else if tag != "" {
				keys = append(keys, path+"."+tag)
				keys = append(keys, keysOf(typ.Field(i).Type, path+"."+tag)...)
			}
		}
		return keys
	}
	return nil
}
