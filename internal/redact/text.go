package redact

import (
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/tollgate/tollgate/internal/secret"
)

// masked stands where a credential stood.
const masked = "[redacted]"

// knownCharsMin is the shortest credential masked by value: shorter ones would be found in ordinary words.
const knownCharsMin = 8

// Mask replaces credentials in texts. The zero Mask knows shapes only. Safe for concurrent use.
type Mask struct {
	known atomic.Pointer[strings.Replacer]
}

// Know makes m mask these credentials wherever they stand, whatever they look like, instead of those before.
func (m *Mask) Know(secrets ...secret.String) {
	var pairs []string
	for _, s := range secrets {
		if text := s.Reveal(); len(text) >= knownCharsMin {
			pairs = append(pairs, text, masked)
		}
	}
	m.known.Store(strings.NewReplacer(pairs...))
}

// Text returns text without the credentials in it.
func (m *Mask) Text(text string) string { return m.Replace(text, nil) }

// Replace is Text with something else in the place of credentials that have a shape: what with makes of each. Those that
// are known by value are masked as ever. nil: all are masked.
func (m *Mask) Replace(text string, with func(credential string) string) string {
	if known := m.known.Load(); known != nil {
		text = known.Replace(text)
	}
	if !suspicious(text) {
		return text
	}
	var clean strings.Builder
	at := 0
	for _, m := range shapes.FindAllStringSubmatchIndex(text, -1) {
		for group := 1; group <= shapes.NumSubexp(); group++ {
			from, to := m[2*group], m[2*group+1]
			if from >= 0 && (group != plausible || isPlausible(text[from:to])) {
				clean.WriteString(text[at:from])
				if with == nil {
					clean.WriteString(masked)
				} else {
					clean.WriteString(with(text[from:to]))
				}
				at = to
			}
		}
	}
	return clean.String() + text[at:]
}

// The shapes of credentials. What is in a group is masked; what is around it stays, so that a reader sees what it was.
var shapes = regexp.MustCompile(strings.Join([]string{
	`(?:(?i:\b(?:bearer|basic)[ :]+)|(?:\b|_|\\[nrt])(?:` + strings.Join(prefixes, "|") + `))(?P<plausible>[A-Za-z0-9._~+/=-]{8,})`,
	`://([^\s/@"']+)@`, // the user of a URL
	`(?i:[?&;][\w.-]*(?:key|token|secret|password|sig|signature|credential|code)=)([^&\s"'#]+)`, // a parameter of a URL
	`\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?)`,                          // a JWT
	`\b((?:AKIA|ASIA)[A-Z0-9]{16})\b`,                                                           // an access key of AWS
	`-----BEGIN [A-Z ]*PRIVATE KEY-----([\s\S]*?)(?:-----END [A-Z ]*PRIVATE KEY-----|$)`,        // a key file
}, "|"))

// plausible is the group for what follows a scheme or prefix that also occurs in ordinary text.
var plausible = shapes.SubexpIndex("plausible")

// isPlausible reports whether text is random rather than a word: "bearer authentication", "sk-learn-contrib".
func isPlausible(text string) bool {
	return strings.ContainsAny(text, "0123456789") || len(text) >= 24
}

// prefixes begin the keys of vendors, ours first.
var prefixes = []string{
	"tg_sk_", "tg_at_", "tg_rt_",
	"sk-", "gsk_", "xai-", "AIza", `ya29\.`, "csk-", "pplx-", "nvapi-", "hf_", "fw_", "tgp_v1_", "r8_", "ABSK", "bce-v3/",
	"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "npm_", "pypi-", "dop_v1_",
	"xoxb-", "xoxp-", "xoxa-", "xapp-", "sk_live_", "rk_live_", "whsec_", `SG\.`, "lin_api_", "ntn_", `hvs\.`,
}

// signs are parts that every shape has one of; most texts have none and are spared the expression.
var signs = func() []string {
	s := []string{"://", "=", "earer", "EARER", "asic", "ASIC", "eyJ", "AKIA", "ASIA", "PRIVATE KEY"}
	for _, p := range prefixes {
		s = append(s, strings.ReplaceAll(p, `\`, ""))
	}
	return s
}()

func suspicious(text string) bool {
	if len(text) < knownCharsMin {
		return false
	}
	for _, s := range signs {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}
