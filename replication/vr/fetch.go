package vr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/transfer"
)

var errStalled = errors.New("vr: the checkpoint stands still")

// fetch carries out what a transfer.Fetch decides.
type fetch struct {
	*Replica
	*transfer.Fetch
	// receiver is nil until it is known which checkpoint comes.
	receiver CheckpointReceiver
	resumes  bool // what comes next goes on with chunks that came before, in this fetch or an earlier one
}

// fetchCheckpoint runs beside the owner. It ends with the checkpoint durable here, or with a part of it kept for the next
// time. The others have a state, and may have it too; above is what was applied when it began.
func (r *Replica) fetchCheckpoint(want *core.FetchCheckpoint, others []core.ReplicaID, above core.OpNumber) finishedJob {
	f := &fetch{Replica: r, Fetch: transfer.NewFetch(*want, others, 0)}
	job := finishedJob{fetched: true}
	defer r.counters.fetchDone.Store(0)
	defer r.counters.fetchTotal.Store(0)
	if job.err = f.goOn(above); job.err == nil {
		job.missed, job.err = f.run()
	}
	identity, _ := f.Identity()
	job.meta, job.from = identity.Meta, f.From()
	switch {
	case f.receiver == nil:
	case job.err != nil:
		job.err = errors.Join(job.err, f.receiver.Abort())
	case job.missed != nil:
		job.err = f.receiver.Keep()
	default:
		if err := f.receiver.Commit(); errors.Is(err, ErrChunk) {
			job.missed = err
		} else if err != nil {
			job.err = err
		}
	}
	if job.err != nil {
		job.err = fmt.Errorf("vr: checkpoint at operation %d: %w", job.meta.Op, job.err)
	}
	return job
}

// goOn takes up what an earlier fetch has left, if that is of any use.
func (f *fetch) goOn(above core.OpNumber) (err error) {
	left, ok := f.options.Storage.Unfinished()
	if !ok || !f.GoOn(left, above) {
		return nil
	}
	f.receiver, err = f.options.Storage.ReceiveCheckpoint(left)
	f.resumes = true
	return err
}

// run asks until everything is here. missed: the others or the ways to them failed.
func (f *fetch) run() (missed, err error) {
	for {
		before := f.chunks()
		if missed, err = f.attempt(); missed == nil || err != nil || f.background.Err() != nil {
			return missed, err
		}
		f.options.Logger.Info("a checkpoint stopped on its way", "group", f.options.Group, "replica", f.options.Self, "from", f.From(),
			"chunk", f.chunks(), "reason", missed)
		switch f.Missed(errors.Is(missed, replication.ErrCheckpointGone), before, f.chunks()) {
		case transfer.NextGiveUp:
			return missed, nil
		case transfer.NextAgain:
			if err := f.pause(); err != nil {
				return err, nil
			}
		case transfer.NextElsewhere:
		case transfer.NextAnew:
			f.counters.fetchesReplaced.Add(1)
			receiver := f.receiver
			f.receiver, f.resumes = nil, false
			if err := receiver.Abort(); err != nil {
				return nil, err
			}
		}
	}
}

// chunks is how many are here.
func (f *fetch) chunks() uint64 {
	if f.receiver == nil {
		return 0
	}
	return f.receiver.Next()
}

func (f *fetch) pause() error {
	timer := time.NewTimer(f.options.ResendInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-f.background.Done():
		return context.Cause(f.background)
	}
}

// attempt asks one member for what is missing, and takes it.
func (f *fetch) attempt() (missed, err error) {
	ctx, cancel := context.WithCancelCause(f.background)
	defer cancel(nil)
	idle := time.AfterFunc(f.options.FetchTimeout, func() { cancel(errStalled) })
	defer idle.Stop()
	header, chunks, missed := f.options.Transport.FetchCheckpoint(ctx, f.From(), f.request())
	if missed != nil {
		return errors.Join(missed, context.Cause(ctx)), nil
	}
	defer func() { _ = chunks.Close() }() // it was only read, and what was read is verified
	bytes, missed, err := f.agree(header)
	if missed != nil || err != nil {
		return missed, err
	}
	f.counters.fetchDone.Store(f.receiver.Bytes())
	f.counters.fetchTotal.Store(bytes)
	missed, err = f.take(chunks, func() { idle.Reset(f.options.FetchTimeout) })
	if missed != nil {
		missed = errors.Join(missed, context.Cause(ctx))
	}
	return missed, err
}

func (f *fetch) request() replication.CheckpointRequest {
	request := f.Request()
	if !request.Resume {
		return replication.CheckpointRequest{AtLeast: replication.OpNumber(request.AtLeast)}
	}
	return replication.CheckpointRequest{Resume: encodeCheckpointHeader(request.Identity, 0), First: f.chunks()}
}

// agree looks at what comes, and makes room for it.
func (f *fetch) agree(header []byte) (bytes uint64, missed, err error) {
	identity, bytes, missed := decodeCheckpointHeader(header)
	if missed != nil {
		return 0, missed, nil
	}
	begins, missed := f.Agree(identity, bytes)
	switch {
	case missed != nil:
		return 0, missed, nil
	case begins:
		f.receiver, err = f.options.Storage.ReceiveCheckpoint(identity)
	case f.resumes:
		f.counters.fetchResumes.Add(1)
	}
	return bytes, nil, err
}

// take takes chunks until the last, each of which is verified before it counts.
func (f *fetch) take(chunks replication.ChunkReader, progress func()) (missed, err error) {
	duty := duty{percent: f.options.FetchDutyPercent, restMax: f.options.FetchTimeout / 2}
	for {
		chunk, missed := chunks.Next()
		if missed == io.EOF { //nolint:errorlint // io.EOF itself is the end, and nothing that wraps it
			return f.End(f.receiver.Bytes()), nil
		}
		if missed != nil {
			return missed, nil
		}
		if missed := f.More(f.receiver.Bytes()); missed != nil {
			return missed, nil
		}
		began := time.Now()
		if err := f.receiver.Write(chunk); errors.Is(err, ErrChunk) {
			f.counters.chunksRefused.Add(1)
			return err, nil
		} else if err != nil {
			return nil, err
		}
		f.resumes = true
		f.counters.fetchBytes.Add(uint64(len(chunk.Data)))
		f.counters.fetchDone.Store(f.receiver.Bytes())
		progress()
		if missed := duty.rest(f.background, time.Since(began)); missed != nil {
			return missed, nil
		}
	}
}
