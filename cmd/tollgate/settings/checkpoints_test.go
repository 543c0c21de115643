package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger/proof/publish"
	"github.com/tollgate/tollgate/llm/price"
)

// withSecrets prepares a file as the gateway does, not as a command.
func withSecrets(t *testing.T, text string) (*Setup, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tollgate.yaml")
	if err := os.WriteFile(path, []byte("version: 1\ndata: /nowhere\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	catalog, err := price.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return Load(path, catalog)
}

func TestCheckpoints(t *testing.T) {
	t.Setenv("CHECKPOINTS_TEST_KEY", strings.Repeat("k", 32))
	t.Setenv("CHECKPOINTS_TEST_SHORT", "short")
	t.Setenv("CHECKPOINTS_TEST_HOOK", "whsec_"+strings.Repeat("QUFB", 8))

	s, err := withSecrets(t, "")
	if p := s.Proof; err != nil || p.Every != time.Minute || p.Entries != 10_000 || len(p.Targets) != 0 || p.KeyRef != "" || !strings.Contains(p.String(), "nowhere") {
		t.Errorf("by default: %+v, %v", s.Proof, err)
	}
	s, err = withSecrets(t, `checkpoints: {origin: example.com/log, every: 5s, entries: 7, key: "env:CHECKPOINTS_TEST_KEY", file: cp,
  s3: {bucket: b, region: r, access_key: "env:CHECKPOINTS_TEST_KEY", secret_key: "env:CHECKPOINTS_TEST_KEY", prefix: p/, retain: 30d},
  webhook: {url: "https://example.com/hook?token=secret", secret: "env:CHECKPOINTS_TEST_HOOK"}}`)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Proof
	if p.Origin != "example.com/log" || p.Every != 5*time.Second || p.Entries != 7 || p.Key.Reveal() != strings.Repeat("k", 32) || len(p.Targets) != 3 {
		t.Fatalf("%+v", p)
	}
	if dir, ok := p.Targets[0].Target.(publish.Directory); !ok || !p.Targets[0].Own || filepath.Base(string(dir)) != "cp" || !filepath.IsAbs(string(dir)) {
		t.Errorf("%+v", p.Targets[0])
	}
	if b, ok := p.Targets[1].Target.(*publish.Bucket); !ok || b.Retain != 30*24*time.Hour || b.Prefix != "p/" || b.S3.Endpoint.Host == "" {
		t.Errorf("%+v", p.Targets[1])
	}
	if h, ok := p.Targets[2].Target.(*publish.Hook); !ok || len(h.Key) != 24 {
		t.Errorf("%+v", p.Targets[2])
	}
	if text := p.String(); strings.Contains(text, "secret") || !strings.Contains(text, "example.com/hook") {
		t.Errorf("what is shown: %s", text)
	}

	// What a reload does not take up is told.
	const bucketAndHook = `checkpoints: {s3: {bucket: b, region: r, access_key: "env:CHECKPOINTS_TEST_KEY", secret_key: "env:CHECKPOINTS_TEST_KEY"}, webhook: {url: "https://example.com", secret: "env:CHECKPOINTS_TEST_HOOK"}}`
	for name, value := range map[string]string{"CHECKPOINTS_TEST_KEY": strings.Repeat("n", 32), "CHECKPOINTS_TEST_HOOK": strings.Repeat("n", 24)} {
		before, err := withSecrets(t, bucketAndHook)
		if err != nil {
			t.Fatal(err)
		}
		was := os.Getenv(name)
		t.Setenv(name, value)
		next, err := withSecrets(t, bucketAndHook)
		if err != nil {
			t.Fatal(err)
		}
		next.Data = before.Data
		if err := before.Restart(next); err == nil || !strings.Contains(err.Error(), "of checkpoints") || strings.Contains(err.Error(), value) {
			t.Errorf("%s changed: %v", name, err)
		}
		t.Setenv(name, was)
	}

	// A command does not look for the secrets, and has no key.
	if s, err := prepared(t, `checkpoints: {key: "env:CHECKPOINTS_TEST_UNSET", webhook: {url: "https://example.com", secret: "env:CHECKPOINTS_TEST_UNSET"}}`); err != nil || !s.Proof.Key.Empty() {
		t.Errorf("without secrets: %v", err)
	}

	for text, want := range map[string]string{
		"origin: a b":                       "cannot name a log",
		"origin: a+b":                       "cannot name a log",
		"every: 25h":                        "every 1s to 24h",
		"every: 10ms":                       "every 1s to 24h",
		"entries: -1":                       "entries: 10000",
		`key: "env:CHECKPOINTS_TEST_SHORT"`: "fewer than 32 characters",
		`key: "env:CHECKPOINTS_TEST_UNSET"`: "no variable CHECKPOINTS_TEST_UNSET",
		`key: in-the-clear`:                 "may not stand in the config",
		"s3: {region: r}":                   "needs bucket",
		"s3: {bucket: b}":                   "needs region",
		"s3: {bucket: b, region: r}":        "needs access_key",
		`s3: {bucket: b, region: r, access_key: "env:CHECKPOINTS_TEST_KEY"}`:                                                          "needs secret_key",
		`s3: {bucket: b, region: r, endpoint: minio, access_key: "env:CHECKPOINTS_TEST_KEY", secret_key: "env:CHECKPOINTS_TEST_KEY"}`: "write https://minio",
		`webhook: {url: example.com, secret: "env:CHECKPOINTS_TEST_HOOK"}`:                                                            "write https://host/path",
		"webhook: {url: https://example.com}":                                                                                         "needs a secret",
		`webhook: {url: "https://example.com", secret: "env:CHECKPOINTS_TEST_SHORT"}`:                                                 "24 to 64 bytes",
		"sign: true": `unknown key "sign"`,
	} {
		if _, err := withSecrets(t, "checkpoints: {"+text+"}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
