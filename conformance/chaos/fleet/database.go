package fleet

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/tollgate/tollgate/internal/postgrestest"
)

// Database is the PostgreSQL that the replicas share, reached by each through a Proxy of its own. What it has confirmed is
// on its disk, so killing it loses nothing.
type Database struct {
	mu      sync.Mutex // held while something is done to the server
	server  *postgrestest.Server
	proxies []*Proxy
}

// NewDatabase starts a server below dir.
func NewDatabase(dir string) (*Database, error) {
	s, err := postgrestest.New(filepath.Join(dir, "primary"), "fsync = on", "synchronous_commit = on", "max_connections = 100")
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return &Database{server: s}, nil
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

// Close ends the proxies and the server.
func (d *Database) Close() error {
	var errs []error
	for _, p := range d.proxies {
		errs = append(errs, p.Close())
	}
	return errors.Join(append(errs, d.Stop(true))...)
}
