package transfer

import "github.com/viewline/viewline/internal/omit"

// The rules that keep a transferred checkpoint what it was; a test takes one out to see that it is missed.
const (
	// RuleChunkChecksum: a chunk counts only with the checksum that was made when the checkpoint was.
	RuleChunkChecksum omit.Rule = iota
	// RuleSameCheckpoint: all chunks are of one and the same checkpoint, whoever gives them, and whenever.
	RuleSameCheckpoint
	// RuleHeldLog: the log above a checkpoint that others fetch is kept.
	RuleHeldLog
)
