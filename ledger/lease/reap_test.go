package lease

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgrestest"
)

// What is removed from the tables, and what is not.
func TestOnPostgreSQLRowsGoInTheirTime(t *testing.T) {
	ctx := t.Context()
	db := openDB(t, postgrestest.Database(t), true)
	defer db.Close()
	if err := migrate(ctx, db); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO lease_replicas SELECT id, 'i', 't-' || id, '', 'UTC', 30000000000, clock_timestamp() - ago, CASE WHEN gone THEN clock_timestamp() - ago END, 1, 1
FROM (VALUES ('live', interval '0', false), ('silent', interval '1 minute', false), ('gone', interval '2 minutes', true), ('old', interval '2 days', true)) AS v (id, ago, gone)`,
		`INSERT INTO lease_caps SELECT name, 0, replica, kind, CASE WHEN ended THEN 1 ELSE 0 END, slides, 9, cap, 0, 0, clock_timestamp() - ago FROM (VALUES
('slots', 'live', 'slots', 0, 3, interval '0', false), ('slots', 'silent', 'slots', 0, 3, '0', false),
('minute', 'live', 'sliding', 60000000000, 3, '0', false), ('minute', 'gone', 'sliding', 60000000000, 3, '0', false), ('hour', 'gone', 'sliding', 3600000000000, 3, '0', false),
('day', 'live', 'period', 0, 3, '0', true), ('zero', 'live', 'sliding', 60000000000, 0, '2 days', false), ('fresh zero', 'live', 'sliding', 60000000000, 0, '0', false)
) AS v (name, replica, kind, slides, cap, ago, ended)`,
		`INSERT INTO lease_pools (name, start, ends) VALUES ('slots', 0, 0), ('empty', 0, 0), ('ended', 1, 1)`,
	} {
		if _, err := db.Exec(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	d, w := &database{db: db}, watched{}
	for _, at := range []time.Duration{0, time.Hour} { // it must be silent before the watcher's eyes, too
		if err := d.reap(ctx, "me", w, at); err != nil {
			t.Fatal(err)
		}
		if at == 0 {
			if got := texts(t, d, "SELECT id FROM lease_replicas WHERE gone IS NULL ORDER BY id"); !slices.Equal(got, []string{"live", "silent"}) {
				t.Errorf("live at first sight: %q", got)
			}
		}
	}
	for query, want := range map[string][]string{
		"SELECT id FROM lease_replicas WHERE gone IS NULL": {"live"},
		"SELECT id FROM lease_replicas ORDER BY id":        {"gone", "live", "silent"},
		// What a replica that is gone wanted as its limit stays with its row a while, of which nothing is held.
		"SELECT name || ' ' || replica FROM lease_caps WHERE cap > 0 ORDER BY name || ' ' || replica": {"hour gone", "minute live", "slots live"},
		"SELECT name || ' ' || replica FROM lease_caps WHERE cap = 0 ORDER BY name || ' ' || replica": {"fresh zero live", "minute gone", "slots silent"},
		"SELECT name FROM lease_pools": {"slots"},
	} {
		if got := texts(t, d, query); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	if err := d.reap(ctx, "another", w, 2*time.Hour); err != nil || len(w) != 0 {
		t.Errorf("it is not the other's duty: %v, %v", err, w)
	}
}

func texts(t *testing.T, d *database, query string) (out []string) {
	t.Helper()
	rows, err := d.db.Query(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}
