package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	sdk "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/tollgate/tollgate/internal/durable"
)

const (
	notesMax         = 1000
	noteTitleMax     = 200      // characters
	noteTextBytesMax = 64 << 10 // of a note's text
	noteFileBytesMax = 1 << 20  // of a file that is read as one: JSON may write a byte as six
	noteURI          = "note://"
)

// note is one note, and its file NotesDir/ID.json.
type note struct {
	ID      string    `json:"id"`
	Title   string    `json:"title"`
	Text    string    `json:"text,omitempty"` // left out in lists
	Created time.Time `json:"created"`
}

// noteID is what an id looks like: nothing that leads out of the directory.
var noteID = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// notes are the notes of one directory. Each is replaced whole, so a crash leaves the old one or the new one.
type notes struct {
	dir string
	mu  sync.Mutex // one change at a time: the count and the write belong together
}

func openNotes(dir string) (*notes, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of notes: %w", err)
	}
	return &notes{dir: dir}, nil
}

func (n *notes) add(s *server.MCPServer) {
	id := sdk.WithString("id", sdk.Required(), sdk.Description("As note_list or note_search tells it"), sdk.Pattern(noteID.String()))
	addTool(s, "note_add", "Keep a note on disk.", n.create, writes(false, false,
		sdk.WithString("title", sdk.Required(), sdk.MinLength(1), sdk.MaxLength(noteTitleMax)),
		sdk.WithString("text", sdk.Required(), sdk.Description("At most 64 KiB")))...)
	addTool(s, "note_list", "The notes kept, newest first, without their texts.", n.list, readOnly()...)
	addTool(s, "note_read", "One note with its text.", n.read, readOnly(id)...)
	addTool(s, "note_search", "The notes whose title or text contains a phrase, in any case.", n.search,
		readOnly(sdk.WithString("phrase", sdk.Required(), sdk.MinLength(1), sdk.MaxLength(200)))...)
	addTool(s, "note_delete", "Delete a note for good.", n.remove, writes(true, true, id)...)

	s.AddResource(sdk.NewResource(noteURI+"all", "All notes", sdk.WithMIMEType("text/markdown"),
		sdk.WithResourceDescription("Every note with its text, newest first")), n.resource)
	s.AddResourceTemplate(sdk.NewResourceTemplate(noteURI+"{id}", "A note", sdk.WithTemplateMIMEType("text/markdown")), n.resource)
	s.AddPrompt(sdk.NewPrompt("summarize_notes", sdk.WithPromptDescription("Summarize the notes about a topic"),
		sdk.WithArgument("topic", sdk.ArgumentDescription("Only notes that contain this; all if left out"))), n.prompt)
}

// load reads all notes, newest first. Files that are no notes are left alone.
func (n *notes) load() ([]note, error) {
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return nil, errors.New("the directory of notes cannot be read")
	}
	var all []note
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !noteID.MatchString(id) {
			continue
		}
		if one, err := n.get(id); err == nil {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b note) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

func (n *notes) path(id string) string { return filepath.Join(n.dir, id+".json") }

func (n *notes) get(id string) (note, error) {
	var one note
	if !noteID.MatchString(id) {
		return one, errors.New("an id is made of small letters and digits")
	}
	info, err := os.Lstat(n.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return one, fmt.Errorf("there is no note %s: note_list shows those there are", id)
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() > noteFileBytesMax {
		return one, fmt.Errorf("note %s cannot be read", id)
	}
	raw, err := os.ReadFile(n.path(id))
	if err != nil || json.Unmarshal(raw, &one) != nil || one.ID != id {
		return one, fmt.Errorf("note %s cannot be read", id)
	}
	return one, nil
}

func (n *notes) create(_ context.Context, args struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}) (note, error) {
	if len(args.Text) > noteTextBytesMax {
		return note{}, fmt.Errorf("the text is longer than %d KiB", noteTextBytesMax>>10)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	all, err := n.load()
	if err != nil {
		return note{}, err
	}
	if len(all) >= notesMax {
		return note{}, fmt.Errorf("there are %d notes already: delete some", notesMax)
	}
	one := note{ID: strings.ToLower(rand.Text()[:10]), Title: args.Title, Text: args.Text, Created: time.Now().UTC()}
	raw, err := json.Marshal(one)
	if err == nil {
		err = durable.WriteFile(n.path(one.ID), raw, 0o600)
	}
	if err != nil {
		return note{}, errors.New("the note could not be written")
	}
	one.Text = ""
	return one, nil
}

type listed struct {
	Notes []note `json:"notes"`
}

func titles(all []note) listed {
	out := listed{Notes: make([]note, 0, len(all))}
	for _, one := range all {
		one.Text = ""
		out.Notes = append(out.Notes, one)
	}
	return out
}

func (n *notes) list(context.Context, struct{}) (listed, error) {
	all, err := n.load()
	return titles(all), err
}

type byID struct {
	ID string `json:"id"`
}

func (n *notes) read(_ context.Context, args byID) (note, error) { return n.get(args.ID) }

func (n *notes) search(_ context.Context, args struct {
	Phrase string `json:"phrase"`
}) (listed, error) {
	found, err := n.containing(args.Phrase)
	return titles(found), err
}

func (n *notes) containing(phrase string) ([]note, error) {
	all, err := n.load()
	phrase = strings.ToLower(phrase)
	return slices.DeleteFunc(all, func(one note) bool {
		return !strings.Contains(strings.ToLower(one.Title+"\n"+one.Text), phrase)
	}), err
}

func (n *notes) remove(_ context.Context, args byID) (byID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, err := n.get(args.ID); err != nil {
		return args, err
	}
	if err := os.Remove(n.path(args.ID)); err != nil {
		return args, errors.New("the note could not be deleted")
	}
	return args, nil
}

// resource reads note://ID, or all of them.
func (n *notes) resource(_ context.Context, r sdk.ReadResourceRequest) ([]sdk.ResourceContents, error) {
	id := strings.TrimPrefix(r.Params.URI, noteURI)
	var all []note
	var err error
	if id == "all" {
		all, err = n.load()
	} else {
		var one note
		if one, err = n.get(id); err == nil {
			all = []note{one}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", server.ErrResourceNotFound, err)
	}
	return []sdk.ResourceContents{sdk.TextResourceContents{URI: r.Params.URI, MIMEType: "text/markdown", Text: markdown(all)}}, nil
}

func markdown(all []note) string {
	var b strings.Builder
	for _, one := range all {
		fmt.Fprintf(&b, "# %s\n\n%s\n\n", one.Title, one.Text)
	}
	return b.String()
}

func (n *notes) prompt(_ context.Context, r sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
	topic := r.Params.Arguments["topic"]
	found, err := n.containing(topic)
	if err != nil {
		return nil, err
	}
	about := "all notes"
	if topic != "" {
		about = "the notes about " + topic
	}
	text := "Summarize " + about + " in a few sentences.\n\n" + markdown(found)
	return sdk.NewGetPromptResult("Summary of "+about, []sdk.PromptMessage{sdk.NewPromptMessage(sdk.RoleUser, sdk.NewTextContent(text))}), nil
}
