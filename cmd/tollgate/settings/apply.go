package settings

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/oauth"
)

// Upstreams are all destinations of the gate.
func (out *Setup) Upstreams() ([]gate.Upstream, error) {
	models, err := llm.Upstreams(out.Routes.Providers)
	if err != nil {
		return nil, err
	}
	return append(models, mcp.Upstreams(out.Servers)...), nil
}

// AllLimits are the limits of the config and of every key, declared or minted.
func (out *Setup) AllLimits(keys []oauth.Key, log *slog.Logger) map[ledger.Scope][]ledger.Limit {
	all := map[ledger.Scope][]ledger.Limit{}
	for scope, list := range out.Limits {
		all[scope] = list
	}
	for _, k := range keys {
		scope := ledger.Scope{Level: ledger.KeyLevel, Name: k.ID}
		if k.Declared {
			all[scope] = out.KeyLimits[k.Name]
			continue
		}
		for _, text := range k.Limits {
			l, err := ledger.ParseLimit(text)
			if err != nil { // checked when it was minted; a limit nobody can read must not become none
				log.Error("a key's limit cannot be read: the key is held at zero", "key", k.Name, "limit", text)
				l, _ = ledger.ParseLimit("0 calls / 1d")
			}
			all[scope] = append(all[scope], l)
		}
	}
	return all
}

// Fixed are the settings that a reload cannot change, by the name they have in the file; secrets are not among them.
func (out *Setup) Fixed() map[string]string {
	all := map[string]string{
		"listen": out.Listen, "admin.listen": out.Admin, "public_url": out.PublicURL.String(), "data": out.Data,
		"durability": string(out.Durability), "retention": out.Retention.String(), "index_retention": out.IndexRetention.String(), "timezone": out.Location.String(), "anonymous": out.Anonymous,
		"hosts and origins": fmt.Sprint(out.Guard.Hosts, out.Guard.Origins),
		"checkpoints":       out.Proof.Origin + " " + out.Proof.String(), "checkpoints.key": out.Proof.KeyRef,
		"database": "", "advertise": "", "offline": "",
	}
	if r := out.Replica; r != nil {
		all["database"], all["advertise"], all["offline"] = r.Place, r.Advertise, r.Offline.String()
	}
	return all
}

// Restart says what of next, which was made after out, takes a restart to come into force; nil: nothing does.
func (out *Setup) Restart(next *Setup) error {
	for name, value := range Sorted(next.Fixed()) {
		if was := out.Fixed()[name]; was != value {
			return fmt.Errorf("%s changed from %q to %q, which needs a restart", name, was, value)
		}
	}
	if !bytes.Equal(out.Privacy.KEK, next.Privacy.KEK) || !bytes.Equal(out.Privacy.KEKBefore, next.Privacy.KEKBefore) {
		return errors.New("the secret in payloads.kek or payloads.kek_before changed, which needs a restart")
	}
	if !reflect.DeepEqual(out.Proof.Key, next.Proof.Key) || !reflect.DeepEqual(out.Proof.fixed, next.Proof.fixed) {
		return errors.New("a secret of checkpoints, or how a place for them is addressed, changed, which needs a restart")
	}
	if out.Replica == nil {
		return nil
	}
	for name, same := range map[string]bool{
		"database": reflect.DeepEqual(out.Replica.Database, next.Replica.Database), "secret_key": reflect.DeepEqual(out.Replica.SecretKey, next.Replica.SecretKey),
	} {
		if !same {
			return fmt.Errorf("the secret in %s changed, which needs a restart", name)
		}
	}
	return nil
}
