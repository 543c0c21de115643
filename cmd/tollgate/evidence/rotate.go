package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/proof"
)

// rotate introduces a new key and returns its verifier. old refers to the secret before, where the config has the new one.
func (p *Part) rotate(ctx context.Context, old string) (string, error) {
	fresh, configured, err := p.configured()
	if err != nil {
		return "", err
	}
	if !configured {
		if old != "" {
			return "", errors.New("--old is for a key that the config names: this gateway keeps its key in its data directory")
		}
		return p.rotateFile(ctx)
	}
	if old == "" {
		return "", errors.New("the config has the new secret: give the one before with --old env:NAME or --old file:PATH")
	}
	before, err := secret.Resolve(old)
	if err != nil {
		return "", fmt.Errorf("--old: %w", err)
	}
	seed, err := secret.Derive(before, keyLabel, proof.KeyBytes)
	if err != nil {
		return "", err
	}
	next, err := secret.Derive(fresh, keyLabel, proof.KeyBytes)
	if err != nil {
		return "", err
	}
	p.signWith(seed)
	return p.log.Rotate(ctx, next)
}

// configured is the secret that the config has, if it has one. Commands look for it here only.
func (p *Part) configured() (secret.String, bool, error) {
	s := p.cfg.Setup
	if ref := s.Proof.KeyRef; ref != "" {
		key, err := secret.Resolve(ref)
		if err != nil {
			err = fmt.Errorf("checkpoints.key: %w", err)
		}
		return key, true, err
	}
	if s.Replica != nil {
		return s.Replica.SecretKey, true, nil
	}
	return secret.String{}, false, nil
}

// rotateFile makes a new key beside the old one, introduces it and puts it in the old one's place. A crash before it is
// introduced leaves a key that the next rotation takes; one after leaves both, of which signing takes the one in force.
func (p *Part) rotateFile(ctx context.Context) (string, error) {
	next, err := secret.KeyFile(p.file(nextKeyFile), "the next checkpoint key", proof.KeyBytes)
	if err != nil {
		return "", err
	}
	head, err := p.store.Head(ctx)
	if err != nil {
		return "", err
	}
	if key, err := proof.NewKey(head.Origin, next); err != nil || key.Verifier() == head.Verifier {
		// It was introduced already, and only not put in its place: that is done now, and a rotation needs a new one.
		if err := errors.Join(err, p.replaceKey()); err != nil {
			return "", err
		}
		return p.rotateFile(ctx)
	}
	verifier, err := p.log.Rotate(ctx, next)
	if err != nil {
		return "", err
	}
	return verifier, p.replaceKey()
}

func (p *Part) replaceKey() error {
	if err := os.Rename(p.file(nextKeyFile), p.file(keyFile)); err != nil {
		return fmt.Errorf("keep the new checkpoint key: %w", err)
	}
	dir, err := durable.Disk(filepath.Dir(p.file(keyFile)))
	if err != nil {
		return err
	}
	return dir.Sync()
}
