package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/policy"
)

// The bounds of asking providers for their models.
const (
	discoverTimeout  = 5 * time.Second
	discoverFresh    = 10 * time.Minute // a list is believed so long
	discoverAgain    = time.Minute      // after a failure
	listBytesMax     = 8 << 20
	listedModelsMax  = 8192 // the largest list is some 1,000
	discoverParallel = 8
)

// discovered is what a provider says it has. The zero value knows nothing. Safe for concurrent use.
type discovered struct {
	asking sync.Mutex // held while the provider is asked, so that it is asked once

	mu     sync.Mutex // guards what follows
	models []string
	next   time.Time // when to ask again
	failed error     // of the last time
}

func (d *discovered) names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.models
}

func (d *discovered) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

func (d *discovered) due(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !now.Before(d.next)
}

// adopt takes over what old knows. d is not shared yet.
func (d *discovered) adopt(old *discovered) {
	old.mu.Lock()
	defer old.mu.Unlock()
	d.models, d.next, d.failed = old.models, old.next, old.failed
}

// set keeps the last list when asking failed.
func (d *discovered) set(models []string, err error, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = err
	if err != nil {
		d.next = now.Add(discoverAgain)
		return
	}
	d.models, d.next = models, now.Add(discoverFresh)
}

// discover asks the providers whose models are not declared, where that is due, and reports whether any was asked.
func (p *Proxy) discover(ctx context.Context, t *table, behalf *policy.Principal) bool {
	var wg sync.WaitGroup
	places := make(chan struct{}, discoverParallel)
	asked := false
	for _, to := range t.order {
		if len(to.Models) > 0 || to.urls[vendor.Models] == nil || !to.listed.due(p.now()) {
			continue
		}
		asked = true
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			p.inquire(ctx, to, behalf)
		})
	}
	wg.Wait()
	return asked
}

// inquire asks one provider for its models, unless somebody else just did.
func (p *Proxy) inquire(ctx context.Context, to *provider, behalf *policy.Principal) {
	to.listed.asking.Lock()
	defer to.listed.asking.Unlock()
	if !to.listed.due(p.now()) {
		return
	}
	// The list is for everybody: whoever happened to ask first may leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discoverTimeout)
	defer cancel()
	call := policy.Call{Action: policy.ProviderProbe, Upstream: to.Name, OnBehalf: behalf.Key}
	var models []string
	err := p.gate.Do(ctx, call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		var err error
		models, err = p.list(ctx, permit, to)
		return err
	})
	if err != nil {
		p.log.Warn("a provider's models are not known", "provider", to.Name, "err", err)
	}
	to.listed.set(models, err, p.now())
}

// list reads a provider's list of models, in OpenAI's shape or Anthropic's: both have data with ids.
func (p *Proxy) list(ctx context.Context, permit *gate.Permit, to *provider) ([]string, error) {
	u := *to.urls[vendor.Models]
	req := (&http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if err := p.credit(permit, to, vendor.Models, req.Header); err != nil {
		return nil, err
	}
	if to.Speaks(vendor.Messages) && !to.Speaks(vendor.Chat) {
		req.URL.RawQuery = "limit=1000"
	}
	resp, err := p.gate.RoundTrip(permit, req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := decoded(resp)
	if err != nil {
		return nil, err
	}
	text, err := readAll(body, resp.ContentLength, listBytesMax)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		permit.Done(ledger.Failed, resp.StatusCode, "")
		return nil, fmt.Errorf("it answered with status %d", resp.StatusCode)
	}
	var page struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(text, &page); err != nil {
		return nil, errors.New("its list is not JSON of a known shape")
	}
	permit.Done(ledger.OK, resp.StatusCode, "")
	var models []string
	for _, m := range page.Data[:min(len(page.Data), listedModelsMax)] {
		if m.ID != "" && len(m.ID) <= dialect.ModelBytesMax {
			models = append(models, m.ID)
		}
	}
	return models, nil
}
