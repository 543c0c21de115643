package settings

import (
	"cmp"
	"fmt"
	"net/url"
	"time"

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

// CheckpointBucket is an object store for checkpoints: PREFIXcheckpoint-000000000001.txt.
type CheckpointBucket struct {
	ObjectStore `yaml:",inline"`
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
	fixed   []any  // what else of the targets must stay: credentials, how a bucket is addressed
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
	bucket, ok := out.objectStore(s, path, &c.ObjectStore)
	if !ok {
		return
	}
	out.Proof.places += fmt.Sprintf(" s3 %s/%s/%s %s", bucket.Endpoint.Host, c.Bucket, c.Prefix, c.Retain)
	out.Proof.fixed = append(out.Proof.fixed, bucket)
	bucket.HTTP = publish.Client()
	b := &publish.Bucket{Prefix: c.Prefix, Retain: time.Duration(c.Retain), S3: bucket}
	out.Proof.Targets = append(out.Proof.Targets, publish.Named{Name: "s3", Target: b})
}

func (out *Setup) checkpointHook(s *Source) {
	c := s.Checkpoints.Webhook
	if c == nil {
		return
	}
	const path = "checkpoints.webhook"
	u := s.webAddress(path+".url", c.URL, "https://host/path")
	if u == nil {
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
	out.Proof.fixed = append(out.Proof.fixed, u.RawQuery, key)
}

// webAddress reads the URL of http or https at path; nil: it is none, which is told. It may hold a secret, and is not quoted.
func (s *Source) webAddress(path, text, example string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		s.fault(path, "this is not a url without a user: write %s", example)
		return nil
	}
	return u
}

// String says what is signed how often and where it goes.
func (p *Proof) String() string {
	to := p.places
	if to == "" {
		to = " nowhere: whoever holds this machine can rewrite the ledger; see checkpoints:"
	}
	return fmt.Sprintf("every %s or %d entries, to%s", p.Every, p.Entries, to)
}
