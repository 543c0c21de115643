package postgrestest

import "fmt"

// Standby makes a copy of a running server below dir, which must be empty or missing, and starts it as its standby. From
// then on s confirms a commit once the standby has it too, and waits with commits while the standby does not run.
func (s *Server) Standby(dir string) (*Server, error) {
	b, err := prepare(dir)
	if err != nil {
		return nil, err
	}
	port := []string{"-h", "127.0.0.1", "-p", fmt.Sprint(s.port), "-U", "tollgate"}
	if out, err := b.command("pg_basebackup", append(port, "-D", b.dir, "-R", "-X", "stream", "-c", "fast", "--no-sync")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	if err := b.append([]string{fmt.Sprint("port = ", b.port)}); err != nil {
		return nil, err
	}
	if err := b.Start(); err != nil {
		return nil, err
	}
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err := run(s.URL("postgres"), statement); err != nil {
			return nil, fmt.Errorf("having commits wait for the standby: %w", err)
		}
	}
	return b, nil
}

// Promote ends a standby's being one: it takes writes from now on, and has all that its server has confirmed.
func (s *Server) Promote() error {
	if err := run(s.URL("postgres"), "SELECT pg_promote()"); err != nil {
		return fmt.Errorf("promoting a standby: %w", err)
	}
	return nil
}
