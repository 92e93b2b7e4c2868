package vr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// fetchAttemptsMax is how often a checkpoint of which a part is here is asked for in vain, one time after the other,
// before another member is asked for what it has.
const fetchAttemptsMax = 3

var errStalled = errors.New("vr: the checkpoint stands still")

// fetch is a checkpoint of another replica on its way here.
type fetch struct {
	*Replica
	want *core.FetchCheckpoint
	from core.ReplicaID // who is asked
	// asked is how many of the members were looked at for one that goes on with what is here.
	asked int
	// receiver is nil until it is known which checkpoint comes.
	receiver CheckpointReceiver
	identity CheckpointIdentity
	kept     bool // the receiver goes on with what an earlier fetch has left
	begun    bool // a chunk has come from somebody
}

// fetchCheckpoint runs beside the owner. It ends with the checkpoint durable here, or with a part of it kept for the next
// time. above is what was applied when it began.
func (r *Replica) fetchCheckpoint(want *core.FetchCheckpoint, above core.OpNumber) finishedJob {
	f := &fetch{Replica: r, want: want, from: want.From}
	job := finishedJob{fetched: true}
	defer r.counters.fetchDone.Store(0)
	defer r.counters.fetchTotal.Store(0)
	if job.err = f.goOn(above); job.err == nil {
		job.missed, job.err = f.run()
	}
	job.meta, job.from = f.identity.Meta, f.from
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
func (f *fetch) goOn(above core.OpNumber) error {
	identity, ok := f.options.Storage.Unfinished()
	if !ok || identity.Meta.Op <= above {
		return nil
	}
	f.identity, f.kept = identity, true
	var err error
	f.receiver, err = f.options.Storage.ReceiveCheckpoint(identity)
	return err
}

// run asks until everything is here. missed: the others or the ways to them failed.
func (f *fetch) run() (missed, err error) {
	for failed := 0; ; {
		before := f.next()
		if missed, err = f.attempt(); missed == nil || err != nil || f.background.Err() != nil {
			return missed, err
		}
		f.options.Logger.Info("a checkpoint stopped on its way", "group", f.options.Group, "replica", f.options.Self, "from", f.from,
			"chunk", f.next(), "reason", missed)
		got := f.next() > before
		switch {
		case f.receiver != nil && (errors.Is(missed, replication.ErrCheckpointGone) || f.from != f.want.From && !got):
			if err := f.askElsewhere(); err != nil {
				return nil, err
			}
			continue
		case got:
			failed = 0
		default:
			failed++
		}
		if f.next() == 0 || failed == fetchAttemptsMax {
			return missed, nil
		}
		if err := f.pause(); err != nil {
			return err, nil
		}
	}
}

func (f *fetch) next() uint64 {
	if f.receiver == nil {
		return 0
	}
	return f.receiver.Next()
}

// askElsewhere is what follows when a member has not, or no longer, the checkpoint of which a part is here: each other one
// may have it. When none has, the part is dropped, and the one that was asked first gives what it has.
func (f *fetch) askElsewhere() error {
	for f.asked < len(f.options.Members) {
		member := f.options.Members[f.asked]
		if f.asked++; member != f.options.Self && core.ReplicaID(member) != f.want.From {
			f.from = core.ReplicaID(member)
			return nil
		}
	}
	f.counters.fetchesReplaced.Add(1)
	receiver := f.receiver
	f.from, f.receiver, f.kept, f.identity = f.want.From, nil, false, CheckpointIdentity{}
	return receiver.Abort()
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
	header, chunks, missed := f.options.Transport.FetchCheckpoint(ctx, f.from, f.request())
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
	missed, err = f.take(chunks, bytes, func() { idle.Reset(f.options.FetchTimeout) })
	if missed != nil {
		missed = errors.Join(missed, context.Cause(ctx))
	}
	return missed, err
}

func (f *fetch) request() replication.CheckpointRequest {
	if f.receiver == nil {
		return replication.CheckpointRequest{AtLeast: replication.OpNumber(f.want.Meta.Op)}
	}
	return replication.CheckpointRequest{Resume: encodeCheckpointHeader(f.identity, 0), First: f.receiver.Next()}
}

// agree looks at what comes: the checkpoint of which a part is here, or one that the replica can use.
func (f *fetch) agree(header []byte) (bytes uint64, missed, err error) {
	identity, bytes, missed := decodeCheckpointHeader(header)
	if missed != nil {
		return 0, missed, nil
	}
	if f.receiver != nil {
		if identity != f.identity {
			return 0, fmt.Errorf("vr: checkpoint %+v came, %+v was to be gone on with", identity, f.identity), nil
		}
		if f.begun || f.kept {
			f.counters.fetchResumes.Add(1)
		}
		return bytes, nil, nil
	}
	if meta := identity.Meta; meta.Op < f.want.Meta.Op || meta.Op == f.want.Meta.Op && meta != f.want.Meta {
		return 0, fmt.Errorf("vr: checkpoint %+v came, %+v was wanted", meta, f.want.Meta), nil
	}
	f.identity = identity
	f.receiver, err = f.options.Storage.ReceiveCheckpoint(identity)
	return bytes, nil, err
}

// take takes chunks until the last, each of which is verified before it counts.
func (f *fetch) take(chunks replication.ChunkReader, bytes uint64, progress func()) (missed, err error) {
	duty := duty{percent: f.options.FetchDutyPercent, restMax: f.options.FetchTimeout / 2}
	for {
		chunk, missed := chunks.Next()
		if missed == io.EOF { //nolint:errorlint // io.EOF itself is the end, and nothing that wraps it
			if here := f.receiver.Bytes(); here != bytes {
				return fmt.Errorf("%w: %d bytes came, it has %d", ErrChunk, here, bytes), nil
			}
			return nil, nil
		}
		if missed != nil {
			return missed, nil
		}
		if f.receiver.Bytes() >= bytes {
			return fmt.Errorf("%w: it goes on after its %d bytes", ErrChunk, bytes), nil
		}
		began := time.Now()
		if err := f.receiver.Write(chunk); errors.Is(err, ErrChunk) {
			f.counters.chunksRefused.Add(1)
			return err, nil
		} else if err != nil {
			return nil, err
		}
		f.begun = true
		f.counters.fetchBytes.Add(uint64(len(chunk.Data)))
		f.counters.fetchDone.Store(f.receiver.Bytes())
		progress()
		if missed := duty.rest(f.background, time.Since(began)); missed != nil {
			return missed, nil
		}
	}
}
