package raft

import hraft "github.com/hashicorp/raft"

// entryCache is the newest entries of a log, without a gap.
type entryCache struct {
	bytesMax int
	bytes    int
	entries  []*hraft.Log
}

// entryOverhead is what an entry takes beside its data.
const entryOverhead = 128

func cacheBytes(log *hraft.Log) int { return len(log.Data) + len(log.Extensions) + entryOverhead }

// get returns an entry, or nil.
func (c *entryCache) get(index uint64) *hraft.Log {
	if len(c.entries) == 0 || index < c.entries[0].Index {
		return nil
	}
	if at := index - c.entries[0].Index; at < uint64(len(c.entries)) {
		return c.entries[at]
	}
	return nil
}

// add appends entries, and lets the oldest go when they are too many.
func (c *entryCache) add(logs []*hraft.Log) {
	if n := len(c.entries); n > 0 && c.entries[n-1].Index+1 != logs[0].Index {
		c.cut(0, n)
	}
	for _, log := range logs {
		c.entries = append(c.entries, log)
		c.bytes += cacheBytes(log)
	}
	drop, bytes := 0, c.bytes
	for bytes > c.bytesMax && drop < len(c.entries) {
		bytes -= cacheBytes(c.entries[drop])
		drop++
	}
	c.cut(0, drop)
}

// remove lets entries go that are not in the log any more: its beginning, or its end.
func (c *entryCache) remove(from, to uint64) {
	n := len(c.entries)
	if n == 0 {
		return
	}
	first, last := c.entries[0].Index, c.entries[n-1].Index
	switch {
	case to < first || from > last:
	case from <= first:
		c.cut(0, int(min(to, last)-first)+1)
	default:
		c.cut(int(from-first), n)
	}
}

// cut removes the entries at these places, at the beginning or at the end.
func (c *entryCache) cut(from, to int) {
	for _, log := range c.entries[from:to] {
		c.bytes -= cacheBytes(log)
	}
	clear(c.entries[from:to])
	if from == 0 {
		c.entries = c.entries[to:]
	} else {
		c.entries = c.entries[:from]
	}
}
