package settings

import (
	"cmp"
	"fmt"
	"net/url"
	"time"

	"github.com/tollgate/tollgate/internal/s3"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/proof"
	"github.com/tollgate/tollgate/ledger/proof/publish"
	"github.com/tollgate/tollgate/ledger/sink/webhook"
)

const (
	// The cadence of checkpoints. Beyond checkpointEveryMax what is not covered yet is more than a proof is worth.
	checkpointEveryDefault = time.Minute
	checkpointEveryMin     = time.Second
	checkpointEveryMax     = 24 * time.Hour
	// checkpointEntriesDefault makes a busy gateway sign more often than a quiet one.
	checkpointEntriesDefault = 10_000
	// checkpointKeyCharsMin is the length of a checkpoint key's secret.
	checkpointKeyCharsMin = 32
)

// Checkpoints says how the ledger is proved: how often what is in it is signed, with which key, and where to the
// checkpoints go.
type Checkpoints struct {
	// Origin names the log in its checkpoints, such as example.com/tollgate. It stays for the log's life. Default:
	// tollgate/ and a random id.
	Origin string `yaml:"origin"`
	// Every is how long entries wait for a checkpoint at most. Default 1m.
	Every Duration `yaml:"every"`
	// Entries is after how many a checkpoint is signed before its time. Default 10000.
	Entries int64 `yaml:"entries"`
	// Key refers to the secret that the signing key is made from, 32 characters or more, the same for all replicas. Default:
	// derived from secret_key, or a key made at the first start and kept in data/checkpoint.key. A new one is introduced with
	// tollgate audit rotate-key.
	Key string `yaml:"key"`
	// File is a directory that checkpoints are appended in: best one that is not this machine's.
	File string `yaml:"file"`
	// S3 is an object store.
	S3 *CheckpointBucket `yaml:"s3"`
	// Webhook is a URL that gets each checkpoint.
	Webhook *CheckpointHook `yaml:"webhook"`
}

// CheckpointBucket is an object store for checkpoints.
type CheckpointBucket struct {
	Bucket string `yaml:"bucket"`
	Region string `yaml:"region"`
	// Endpoint is where the store is. Default: Amazon's of the region.
	Endpoint string `yaml:"endpoint"`
	// PathStyle addresses the bucket as ENDPOINT/BUCKET.
	PathStyle bool `yaml:"path_style"`
	// Prefix is put before names: PREFIXcheckpoint-000000000001.txt.
	Prefix string `yaml:"prefix"`
	// AccessKey, SecretKey and SessionToken are references.
	AccessKey    string `yaml:"access_key"`
	SecretKey    string `yaml:"secret_key"`
	SessionToken string `yaml:"session_token"`
	// Retain locks each object for so long against everybody, where the bucket has Object Lock.
	Retain Days `yaml:"retain"`
}

// CheckpointHook is a webhook for checkpoints.
type CheckpointHook struct {
	URL string `yaml:"url"`
	// Secret refers to what messages are signed with: whsec_ and base64, or 24 to 64 bytes.
	Secret string `yaml:"secret"`
}

// Proof is what Checkpoints means.
type Proof struct {
	Origin  string
	Every   time.Duration
	Entries int64
	KeyRef  string        // where Key comes from; empty: secret_key or a file
	Key     secret.String // empty where secrets are not looked for
	Targets []publish.Named
	places  string // of the targets, for people and to notice a change
}

func (out *Setup) checkpoints(s *Source) {
	c := s.Checkpoints
	p := &out.Proof
	p.Origin = c.Origin
	p.Every = cmp.Or(time.Duration(c.Every), checkpointEveryDefault)
	p.Entries = cmp.Or(c.Entries, checkpointEntriesDefault)
	if c.Origin != "" {
		if err := proof.CheckOrigin(c.Origin); err != nil {
			s.fault("checkpoints.origin", "%v", err)
		}
	}
	if p.Every < checkpointEveryMin || p.Every > checkpointEveryMax {
		s.fault("checkpoints.every", "checkpoints may be signed every %s to %s", checkpointEveryMin, checkpointEveryMax)
	}
	if p.Entries < 1 {
		s.fault("checkpoints.entries", "write after how many entries a checkpoint is signed at the latest, such as entries: 10000")
	}
	if c.Key != "" {
		p.KeyRef = c.Key
		key := out.reference(s, "checkpoints.key", c.Key)
		if !s.WithoutSecrets {
			p.Key = key
		}
		if n := len(p.Key.Reveal()); n > 0 && n < checkpointKeyCharsMin {
			s.fault("checkpoints.key", "the secret of the checkpoint key has fewer than %d characters: make one with openssl rand -base64 32", checkpointKeyCharsMin)
		}
	}
	if c.File != "" {
		dir := s.Resolve(c.File)
		p.Targets = append(p.Targets, publish.Named{Name: "file", Own: true, Target: publish.Directory(dir)})
		p.places += " file " + dir
	}
	out.checkpointBucket(s)
	out.checkpointHook(s)
}

func (out *Setup) checkpointBucket(s *Source) {
	c := s.Checkpoints.S3
	if c == nil {
		return
	}
	const path = "checkpoints.s3"
	for _, need := range []struct{ name, value, example string }{
		{"bucket", c.Bucket, "acme-audit"}, {"region", c.Region, "eu-central-1"},
		{"access_key", c.AccessKey, "env:AWS_ACCESS_KEY_ID"}, {"secret_key", c.SecretKey, "env:AWS_SECRET_ACCESS_KEY"},
	} {
		if need.value == "" {
			s.fault(path, "an object store needs %s: write %s: %s", need.name, need.name, need.example)
			return
		}
	}
	endpoint := s3.Endpoint(c.Region)
	if c.Endpoint != "" {
		var ok bool
		if endpoint, ok = webAddress(c.Endpoint); !ok {
			s.fault(path+".endpoint", "%q is not the URL of an object store: write https://host", c.Endpoint)
			return
		}
	}
	b := &publish.Bucket{Prefix: c.Prefix, Retain: time.Duration(c.Retain), S3: s3.Bucket{
		Endpoint: endpoint, Name: c.Bucket, Region: c.Region, PathStyle: c.PathStyle, HTTP: publish.Client(),
		AccessKey: out.reference(s, path+".access_key", c.AccessKey).Reveal(), SecretKey: out.reference(s, path+".secret_key", c.SecretKey),
	}}
	if c.SessionToken != "" {
		b.S3.Token = out.reference(s, path+".session_token", c.SessionToken)
	}
	out.Proof.Targets = append(out.Proof.Targets, publish.Named{Name: "s3", Target: b})
	out.Proof.places += fmt.Sprintf(" s3 %s/%s/%s %s", endpoint.Host, c.Bucket, c.Prefix, c.Retain)
}

func (out *Setup) checkpointHook(s *Source) {
	c := s.Checkpoints.Webhook
	if c == nil {
		return
	}
	const path = "checkpoints.webhook"
	u, ok := webAddress(c.URL)
	if !ok {
		s.fault(path+".url", "%q is not the URL of a webhook: write https://host/path", c.URL)
		return
	}
	if c.Secret == "" {
		s.fault(path, "a webhook needs a secret that its messages are signed with: write secret: env:NAME")
		return
	}
	key, err := (&webhook.Config{Secret: out.reference(s, path+".secret", c.Secret)}).Key()
	if err != nil && !s.WithoutSecrets {
		s.fault(path+".secret", "%v", err)
	}
	out.Proof.Targets = append(out.Proof.Targets, publish.Named{Name: "webhook", Target: &publish.Hook{URL: u.String(), Key: key, HTTP: publish.Client()}})
	out.Proof.places += " webhook " + u.Host + u.Path
}

// webAddress reads a URL of http or https.
func webAddress(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// String says what is signed how often and where it goes.
func (p *Proof) String() string {
	to := p.places
	if to == "" {
		to = " nowhere: whoever holds this machine can rewrite the ledger; see checkpoints:"
	}
	return fmt.Sprintf("every %s or %d entries, to%s", p.Every, p.Entries, to)
}
