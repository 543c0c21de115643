package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/tollgate/tollgate/internal/postgrestest"
)

// Database is the PostgreSQL that the replicas share, reached by each through a Proxy of its own. What it has confirmed is
// on its disk and, where there is one, on its standby's, so killing it loses nothing.
type Database struct {
	mu      sync.Mutex // guards what follows, and is held while something is done to a server
	server  *postgrestest.Server
	standby *postgrestest.Server // nil: none, or it has taken over
	proxies []*Proxy
}

// NewDatabase starts a server below dir, with a synchronous standby if that is wanted.
func NewDatabase(dir string, standby bool) (*Database, error) {
	primary, second := filepath.Join(dir, "primary"), filepath.Join(dir, "standby")
	for _, d := range []string{dir, primary, second} {
		if err := os.MkdirAll(d, 0o755); err != nil { // the server runs as another user
			return nil, err
		}
	}
	s, err := postgrestest.New(primary, "fsync = on", "synchronous_commit = on", "max_connections = 100")
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	d := &Database{server: s}
	if standby {
		if d.standby, err = s.Standby(second); err != nil {
			return nil, errors.Join(fmt.Errorf("starting a standby of PostgreSQL: %w", err), s.Stop())
		}
	}
	return d, nil
}

// Line makes a proxy to the database for one replica, and returns it with the URL through it.
func (d *Database) Line() (*Proxy, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := NewProxy(d.server.Addr())
	if err != nil {
		return nil, "", err
	}
	d.proxies = append(d.proxies, p)
	return p, "postgres://tollgate@" + p.Addr + "/postgres?sslmode=disable", nil
}

// Stop stops the server, cleanly or as a crash does, until Start.
func (d *Database) Stop(clean bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if clean {
		return d.server.Stop()
	}
	return d.server.Kill()
}

// Start starts a stopped server.
func (d *Database) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server.Start()
}

// Promote has the standby take the place of a server that was stopped, if there is one; else that one starts again.
func (d *Database) Promote() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.standby == nil {
		return d.server.Start()
	}
	if err := d.standby.Promote(); err != nil {
		return err
	}
	d.server, d.standby = d.standby, nil
	for _, p := range d.proxies {
		p.Lead(d.server.Addr())
	}
	return nil
}

// Close ends the proxies and the server.
func (d *Database) Close() error {
	var errs []error
	for _, p := range d.proxies {
		errs = append(errs, p.Close())
	}
	errs = append(errs, d.Stop(true))
	if d.standby != nil {
		errs = append(errs, d.standby.Stop())
	}
	return errors.Join(errs...)
}
