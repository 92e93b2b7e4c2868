package shardserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protodelim"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// checkpointVersion is the version of a checkpoint's format: a stream of CheckpointRecords, each with its
// length before it, from one header to one end, which counts those before it.
const checkpointVersion = 1

// checkpointBufferBytes is how much is read or written at once.
const checkpointBufferBytes = 256 << 10

// ErrCheckpoint says that the bytes are not a checkpoint of this shard.
var ErrCheckpoint = errors.New("shardserver: malformed checkpoint")

func malformedCheckpoint(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", ErrCheckpoint, fmt.Sprintf(format, arguments...))
}

// snapshot is the state at one point, on its way to a checkpoint.
type snapshot struct{ state *history.Snapshot }

// WriteTo writes the checkpoint.
func (s *snapshot) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{to: w}
	buffered := bufio.NewWriterSize(counted, checkpointBufferBytes)
	records := uint64(0)
	write := func(record *pb.CheckpointRecord) error {
		_, err := protodelim.MarshalTo(buffered, record)
		records++
		return err
	}
	err := s.state.Each(func(record history.Record) error {
		message, err := checkpointRecord(record)
		if err != nil {
			return err
		}
		return write(message)
	})
	if err == nil {
		err = write(&pb.CheckpointRecord{Body: &pb.CheckpointRecord_End{End: &pb.CheckpointEnd{Records: records}}})
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return counted.bytes, fmt.Errorf("shardserver: write a checkpoint: %w", err)
	}
	return counted.bytes, nil
}

// Release frees nothing: the snapshot holds memory only.
func (s *snapshot) Release() {}

type countingWriter struct {
	to    io.Writer
	bytes int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.bytes += int64(n)
	return n, err
}

// readCheckpoint builds a state from what WriteTo wrote. Every error but the reader's own is an ErrCheckpoint.
func readCheckpoint(options history.Options, r io.Reader) (*history.State, error) {
	source := &checkpointSource{reader: bufio.NewReaderSize(r, checkpointBufferBytes)}
	state, err := history.Restore(options, source.next)
	switch {
	case errors.Is(err, history.ErrCheckpoint):
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	case err != nil:
		return nil, fmt.Errorf("shardserver: restore: %w", err)
	}
	if !source.ended {
		return nil, malformedCheckpoint("it was not read to its end")
	}
	return state, nil
}

// checkpointSource hands a checkpoint's records out one by one.
type checkpointSource struct {
	reader  *bufio.Reader
	records uint64
	ended   bool
}

// next returns io.EOF after the end record, and only then.
func (c *checkpointSource) next() (history.Record, error) {
	if c.ended {
		return nil, io.EOF
	}
	var message pb.CheckpointRecord
	options := protodelim.UnmarshalOptions{MaxSize: txn.MessageBytesMax}
	switch err := options.UnmarshalFrom(c.reader, &message); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, malformedCheckpoint("it stops after %d records, before its end", c.records)
	case err != nil:
		return nil, fmt.Errorf("%w: record %d: %w", ErrCheckpoint, c.records, err)
	}
	if end, ok := message.GetBody().(*pb.CheckpointRecord_End); ok {
		return nil, c.end(end.End.GetRecords())
	}
	record, err := parseCheckpointRecord(&message)
	if err != nil {
		return nil, fmt.Errorf("%w: record %d: %w", ErrCheckpoint, c.records, err)
	}
	if _, header := record.(history.Header); header != (c.records == 0) {
		return nil, malformedCheckpoint("record %d: the header is the first record and no other", c.records)
	}
	c.records++
	return record, nil
}

// end returns io.EOF if the end record tells the truth and nothing comes after it.
func (c *checkpointSource) end(records uint64) error {
	if records != c.records {
		return malformedCheckpoint("its end says %d records, there are %d", records, c.records)
	}
	switch _, err := c.reader.ReadByte(); {
	case err == nil:
		return malformedCheckpoint("something comes after its end")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("shardserver: read a checkpoint: %w", err)
	}
	c.ended = true
	return io.EOF
}
