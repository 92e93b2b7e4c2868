package raft

import (
	"context"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"
)

// pipeline sends entries to one replica without waiting for the answer to those before. It breaks when an answer does
// not come in time; the library goes back to one at a time then. It is told so by the next AppendEntries, and not by an
// answer without one, which it would take for a sign of life.
type pipeline struct {
	rpc    *rpc
	id     hraft.ServerID
	ctx    context.Context
	cancel context.CancelFunc
	flying chan *flight
	done   chan hraft.AppendFuture
	ended  sync.WaitGroup
}

// flight is entries on their way: the hraft.AppendFuture.
type flight struct {
	call     *call
	sent     uint64
	start    time.Time
	request  *hraft.AppendEntriesRequest
	response *hraft.AppendEntriesResponse
}

func (f *flight) Error() error                           { return nil }
func (f *flight) Start() time.Time                       { return f.start }
func (f *flight) Request() *hraft.AppendEntriesRequest   { return f.request }
func (f *flight) Response() *hraft.AppendEntriesResponse { return f.response }

// AppendEntriesPipeline begins a pipeline.
func (t *rpc) AppendEntriesPipeline(id hraft.ServerID, _ hraft.ServerAddress) (hraft.AppendPipeline, error) {
	p := &pipeline{
		rpc: t, id: id, flying: make(chan *flight, t.options.InFlightMax-2), done: make(chan hraft.AppendFuture, t.options.InFlightMax),
	}
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	p.ended.Go(p.land)
	return p, nil
}

// AppendEntries sends, and waits while too many are on their way.
func (p *pipeline) AppendEntries(request *hraft.AppendEntriesRequest, response *hraft.AppendEntriesResponse) (hraft.AppendFuture, error) {
	if p.ctx.Err() != nil {
		return nil, hraft.ErrPipelineShutdown
	}
	fit(request, p.rpc.options.BatchBytesMax)
	f := &flight{sent: p.rpc.rounds.now(), start: time.Now(), request: request, response: response}
	var err error
	if f.call, err = p.rpc.begin(p.id, encodeAppend(request)); err != nil {
		return nil, err
	}
	select {
	case p.flying <- f:
		return f, nil
	case <-p.ctx.Done():
		p.rpc.end(f.call)
		return nil, hraft.ErrPipelineShutdown
	}
}

// land takes answers in the order of the calls.
func (p *pipeline) land() {
	defer p.cancel()
	for {
		select {
		case f := <-p.flying:
			m, err := p.rpc.await(p.ctx, f.call, p.rpc.options.RequestTimeout)
			if err != nil {
				return
			}
			p.rpc.appended(p.id, f.request, m, f.sent, f.response)
			select {
			case p.done <- f:
			case <-p.ctx.Done():
				return
			}
		case <-p.ctx.Done():
			return
		}
	}
}

// Consumer gives what was answered.
func (p *pipeline) Consumer() <-chan hraft.AppendFuture { return p.done }

// Close ends it. Calls without an answer are forgotten.
func (p *pipeline) Close() error {
	p.cancel()
	p.ended.Wait()
	for {
		select {
		case f := <-p.flying:
			p.rpc.end(f.call)
		default:
			return nil
		}
	}
}
