package sequencer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
	"github.com/tollgate/tollgate/ledger/tables"
)

var (
	// ErrMoved means that another process was faster: look again and go on from there.
	ErrMoved = errors.New("another process has moved it meanwhile")
	// ErrCopied means that another replica has shipped entries of the same writer.
	ErrCopied = errors.New("another replica has shipped these entries: one data directory is a copy of the other; give it a name of its own by removing its replica.id")
	// ErrGone means that the frames that are asked for were removed by retention.
	ErrGone = errors.New("the entries are no longer kept")
)

// Head is where the log stands.
type Head struct {
	Origin   string
	Tree     *proof.Tree
	Signed   int64  // how many checkpoints there are
	Verifier string // of the key that signs; empty: nothing is signed yet
	First    int64  // index of the first entry that is kept: a multiple of proof.BlockLeaves
}

// Batch is consecutive frames of one writer.
type Batch struct {
	Replica string
	Writer  journal.Writer
	First   uint64           // sequence of the first frame
	Entries int              // how many
	Place   journal.Position // where the first frame begins in the replica's journal, and which frame is before it
	Since   time.Time        // time of the oldest entry
	Until   time.Time        // time of the newest
	Shipped time.Time
	At      int64  // index of the first entry; -1: not in the tree
	Frames  []byte // one after the other; nil until they are loaded. Those that a disk has lost are not among them

	leaves []tlog.Hash // of the frames, while they are put into the tree
}

// before is the chain value before the batch's first frame.
func (b *Batch) before() journal.Chain {
	if b.Place.Writer == b.Writer {
		return b.Place.Chain
	}
	return journal.Begin(b.Writer, b.Place.Chain)
}

// Signed is a checkpoint as it was signed.
type Signed struct {
	Number int64 // from 1
	Size   int64
	Time   time.Time
	Note   []byte
}

// Store keeps one log. All methods are safe for concurrent use, by several processes.
type Store struct {
	db  database
	dir durable.Dir // the journal that has the frames; nil: the database has them
}

// OpenFile opens or makes the log of one process: an SQLite file beside the journal in dir. origin names a new log, and
// must be that of an old one; empty: any.
func OpenFile(ctx context.Context, path string, dir durable.Dir, origin string) (*Store, error) {
	db, err := tables.File(path)
	if err != nil {
		return nil, fmt.Errorf("open the proof %s: %w", path, err)
	}
	s, err := open(ctx, db, dir, origin)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the proof %s: %w", path, err), db.Close())
	}
	return s, nil
}

// OpenShared opens or makes the log of all replicas of a database.
func OpenShared(ctx context.Context, db *postgres.DB, origin string) (*Store, error) {
	s, err := open(ctx, tables.Shared(db), nil, origin)
	if err != nil {
		return nil, fmt.Errorf("open the proof: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, db *tables.DB, dir durable.Dir, origin string) (*Store, error) {
	d, err := migrated(ctx, db)
	if err != nil {
		return nil, err
	}
	s := &Store{db: d, dir: dir}
	return s, s.begin(ctx, origin)
}

// Close closes an SQLite file. The shared database stays open.
func (s *Store) Close() error { return s.db.Close() }

// begin makes the head of a new log.
func (s *Store) begin(ctx context.Context, origin string) error {
	fresh := origin
	if fresh == "" {
		fresh = newOrigin()
	}
	if err := proof.CheckOrigin(fresh); err != nil {
		return err
	}
	var empty proof.Tree
	root := empty.Root()
	err := s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		_, err := tx.Exec(ctx, `INSERT INTO proof_head (one, origin, size, root, edge, signed, verifier, first)
VALUES (1, ?, 0, ?, ?, 0, '', 0) ON CONFLICT DO NOTHING`, fresh, root[:], []byte{})
		return err
	})
	if err != nil {
		return err
	}
	head, err := s.Head(ctx)
	if err == nil && origin != "" && head.Origin != origin {
		err = fmt.Errorf("it is of the log %s, and checkpoints.origin says %s: a log keeps its name", head.Origin, origin)
	}
	return err
}

// Head is where the log stands.
func (s *Store) Head(ctx context.Context) (head Head, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		head, err = readHead(ctx, tx)
		return err
	})
	return head, err
}

func readHead(ctx context.Context, tx statements) (head Head, err error) {
	var size int64
	var root, edge []byte
	err = tx.Each(ctx, func(scan func(...any) error) error {
		return scan(&head.Origin, &size, &root, &edge, &head.Signed, &head.Verifier, &head.First)
	}, "SELECT origin, size, root, edge, signed, verifier, first FROM proof_head")
	if err != nil {
		return head, err
	}
	hashes, err := splitHashes(edge)
	if err != nil {
		return head, err
	}
	if head.Tree, err = proof.NewTree(size, hashes); err != nil {
		return head, fmt.Errorf("%w: the database was changed", err)
	}
	if got := head.Tree.Root(); string(got[:]) != string(root) {
		return head, errors.New("the stored edge of the tree does not lead to its stored root: the database was changed")
	}
	return head, nil
}

// places are where a replica has come to.
type places struct{ shipped, sequenced journal.Position }

func readPlaces(ctx context.Context, tx statements) (map[string]places, error) {
	all := map[string]places{}
	err := tx.Each(ctx, func(scan func(...any) error) error {
		var replica string
		var shipped, sequenced []byte
		if err := scan(&replica, &shipped, &sequenced); err != nil {
			return err
		}
		p, err := placesOf(shipped, sequenced)
		all[replica] = p
		return err
	}, "SELECT replica, shipped, sequenced FROM proof_replicas")
	return all, err
}

func placesOf(shipped, sequenced []byte) (p places, err error) {
	if p.shipped, err = parsePosition(shipped); err != nil {
		return p, err
	}
	p.sequenced, err = parsePosition(sequenced)
	return p, err
}

// places returns the places of all replicas.
func (s *Store) places(ctx context.Context) (all map[string]places, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		all, err = readPlaces(ctx, tx)
		return err
	})
	return all, err
}

// Ship keeps a batch of a replica that had shipped up to from, and moves that to end. ErrMoved: it has shipped something
// else since.
func (s *Store) Ship(ctx context.Context, b *Batch, from, end journal.Position) error {
	frames := b.Frames
	if s.dir != nil {
		frames = nil
	}
	return s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		was := appendPosition(nil, from)
		if from == (journal.Position{}) {
			if _, err := tx.Exec(ctx, "INSERT INTO proof_replicas (replica, batches, shipped, sequenced) VALUES (?, 0, ?, ?) ON CONFLICT DO NOTHING", b.Replica, was, was); err != nil {
				return err
			}
		}
		turn := int64(-1)
		err := tx.Each(ctx, func(scan func(...any) error) error { return scan(&turn) },
			"UPDATE proof_replicas SET shipped = ?, batches = batches + 1 WHERE replica = ? AND shipped = ? RETURNING batches", appendPosition(nil, end), b.Replica, was)
		if err != nil {
			return err
		}
		if turn < 0 {
			return ErrMoved
		}
		replica := b.Replica
		err = tx.Each(ctx, func(scan func(...any) error) error { return scan(&replica) },
			"SELECT replica FROM proof_batches WHERE writer = ? ORDER BY seq DESC LIMIT 1", b.Writer[:])
		if err == nil && replica != b.Replica {
			err = ErrCopied
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO proof_batches (writer, seq, replica, turn, entries, place, since, until, shipped, frames)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			b.Writer[:], int64(b.First), b.Replica, turn, int64(b.Entries), appendPosition(nil, b.Place), b.Since.UnixNano(), b.Until.UnixNano(), b.Shipped.UnixNano(), frames)
		return err
	})
}

const batchColumns = "replica, writer, seq, entries, place, since, until, shipped, COALESCE(at, -1)"

func scanBatch(scan func(...any) error, more ...any) (Batch, error) {
	var b Batch
	var writer, place []byte
	var first, entries, since, until, shipped int64
	err := scan(append([]any{&b.Replica, &writer, &first, &entries, &place, &since, &until, &shipped, &b.At}, more...)...)
	if err != nil {
		return b, err
	}
	if len(writer) != len(b.Writer) || entries <= 0 || first <= 0 || entries > math.MaxInt32 {
		return b, errors.New("a stored batch cannot be read: the database was changed")
	}
	copy(b.Writer[:], writer)
	b.First, b.Entries = uint64(first), int(entries)
	b.Since, b.Until, b.Shipped = time.Unix(0, since).UTC(), time.Unix(0, until).UTC(), time.Unix(0, shipped).UTC()
	b.Place, err = parsePosition(place)
	return b, err
}

// pending lists the next batches of a replica that are not in the tree, without their frames.
func (s *Store) pending(ctx context.Context, replica string, limit int) ([]Batch, error) {
	return s.batches(ctx, "WHERE at IS NULL AND replica = ? ORDER BY turn LIMIT ?", replica, limit)
}

// Batches lists batches of the tree, without their frames, from the one that has the entry at index on.
func (s *Store) Batches(ctx context.Context, index int64, limit int) ([]Batch, error) {
	return s.batches(ctx, "WHERE at >= COALESCE((SELECT max(at) FROM proof_batches WHERE at <= ?), 0) ORDER BY at LIMIT ?", index, limit)
}

func (s *Store) batches(ctx context.Context, where string, args ...any) (out []Batch, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		out = nil
		return tx.Each(ctx, func(scan func(...any) error) error {
			b, err := scanBatch(scan)
			out = append(out, b)
			return err
		}, "SELECT "+batchColumns+" FROM proof_batches "+where, args...)
	})
	return out, err
}

// known reports whether the tree has frames of a writer, and of which replica.
func (s *Store) known(ctx context.Context, w journal.Writer) (replica string, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		return tx.Each(ctx, func(scan func(...any) error) error { return scan(&replica) },
			"SELECT replica FROM proof_batches WHERE writer = ? AND at IS NOT NULL LIMIT 1", w[:])
	})
	return replica, err
}

// Load reads a batch's frames.
func (s *Store) Load(ctx context.Context, b *Batch) error {
	if b.Frames != nil {
		return nil
	}
	if s.dir != nil {
		err := s.loadJournal(b)
		if err == nil || errors.Is(err, ErrGone) {
			return err
		}
		return s.loadAside(ctx, b, err)
	}
	found := false
	err := s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		return tx.Each(ctx, func(scan func(...any) error) error { found = true; return scan(&b.Frames) }, "SELECT frames FROM proof_batches WHERE writer = ? AND seq = ?", b.Writer[:], int64(b.First))
	})
	if err == nil && !found {
		err = ErrGone
	}
	return err
}

// loadJournal reads a batch's frames where they were written. They were on the disk when the batch was shipped.
func (s *Store) loadJournal(b *Batch) error {
	c := journal.NewCursor(s.dir, journal.Position{Segment: b.Place.Segment, Offset: b.Place.Offset, Writer: b.Writer, Seq: b.First - 1, Chain: b.before()})
	defer c.Close()
	var frames []byte
	for i := range b.Entries {
		f, err := c.Next(journal.Written())
		if errors.Is(err, fs.ErrNotExist) {
			return ErrGone
		}
		if errors.Is(err, io.EOF) || err == nil && (f.Writer != b.Writer || f.Seq != b.First+uint64(i)) {
			err = fmt.Errorf("the journal does not have sequence %d of writer %x any more: was it set back?", b.First+uint64(i), b.Writer)
		}
		if err != nil {
			return err
		}
		frames = append(frames, f.Bytes...)
	}
	b.Frames = frames
	return nil
}

// Extension is what is added to a tree.
type Extension struct {
	Tree      *proof.Tree
	Batches   []Batch // with At
	Kept      []proof.Subtree
	Sequenced map[string]journal.Position // where the replicas of Batches have come to
}

// Extend puts batches into the tree that is at head. ErrMoved: it is not there any more.
func (s *Store) Extend(ctx context.Context, head Head, e *Extension) error {
	oldRoot, root := head.Tree.Root(), e.Tree.Root()
	return s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		n, err := tx.Exec(ctx, "UPDATE proof_head SET size = ?, root = ?, edge = ? WHERE one = 1 AND size = ? AND root = ?",
			e.Tree.Size(), root[:], joinHashes(e.Tree.Edge()), head.Tree.Size(), oldRoot[:])
		if err != nil {
			return err
		}
		if n != 1 {
			return ErrMoved
		}
		for _, b := range e.Batches {
			var leaves []byte
			if s.dir != nil {
				leaves = joinHashes(b.leaves)
			}
			if n, err = tx.Exec(ctx, "UPDATE proof_batches SET at = ?, leaves = ? WHERE writer = ? AND seq = ? AND at IS NULL", b.At, leaves, b.Writer[:], int64(b.First)); err != nil {
				return err
			}
			if n != 1 {
				return ErrMoved
			}
		}
		for _, k := range e.Kept {
			if _, err := tx.Exec(ctx, "INSERT INTO proof_nodes (level, n, hash) VALUES (?, ?, ?)", int64(k.Level), k.N, k.Hash[:]); err != nil {
				return err
			}
		}
		for replica, place := range e.Sequenced {
			if _, err := tx.Exec(ctx, "UPDATE proof_replicas SET sequenced = ? WHERE replica = ?", appendPosition(nil, place), replica); err != nil {
				return err
			}
		}
		return nil
	})
}

// nodes are the roots of count complete subtrees of a level, a multiple of proof.BlockHeight, from the nth on.
func (s *Store) nodes(ctx context.Context, level int, n int64, count int) (out []tlog.Hash, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		out = nil
		return tx.Each(ctx, func(scan func(...any) error) error {
			var b []byte
			if err := scan(&b); err != nil {
				return err
			}
			h, err := splitHashes(b)
			out = append(out, h...)
			return err
		}, "SELECT hash FROM proof_nodes WHERE level = ? AND n >= ? AND n < ? ORDER BY n", int64(level), n, n+int64(count))
	})
	if err == nil && len(out) != count {
		err = fmt.Errorf("the tree lacks hashes of level %d from %d on: the database was changed", level, n)
	}
	return out, err
}

func joinHashes(hashes []tlog.Hash) []byte {
	out := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

func splitHashes(b []byte) ([]tlog.Hash, error) {
	if len(b)%tlog.HashSize != 0 {
		return nil, errors.New("stored hashes cannot be read: the database was changed")
	}
	out := make([]tlog.Hash, len(b)/tlog.HashSize)
	for i := range out {
		copy(out[i][:], b[i*tlog.HashSize:])
	}
	return out, nil
}

// positionBytes is the size of a stored position.
const positionBytes = 8 + 8 + 16 + 8 + 32

func appendPosition(b []byte, p journal.Position) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Segment)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Offset))
	b = append(b, p.Writer[:]...)
	b = binary.BigEndian.AppendUint64(b, p.Seq)
	return append(b, p.Chain[:]...)
}

func parsePosition(b []byte) (p journal.Position, err error) {
	if len(b) != positionBytes {
		return p, errors.New("a stored place in a journal cannot be read: the database was changed")
	}
	p.Segment, p.Offset = binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))
	copy(p.Writer[:], b[16:])
	p.Seq = binary.BigEndian.Uint64(b[32:])
	copy(p.Chain[:], b[40:])
	return p, nil
}
