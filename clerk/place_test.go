package clerk

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// TestErrorsNameTheShard: whoever gives up is told what he was waiting for, where it was asked last, and what was
// said there.
func TestErrorsNameTheShard(t *testing.T) {
	refuse := func(code pb.Code) func(*pb.Request) *pb.Response {
		return func(*pb.Request) *pb.Response {
			return &pb.Response{Body: &pb.Response_Error{Error: &pb.Error{Code: code, Message: "its words"}}}
		}
	}
	silent := func(*pb.Request) *pb.Response { return nil }
	get := func(ctx context.Context, c *Clerk) error {
		_, err := c.GetLatest(ctx, "x")
		return err
	}
	put := func(ctx context.Context, c *Clerk) error { return c.Put(ctx, "x", []byte("new")) }
	for name, test := range map[string]struct {
		shard, coordinator func(*pb.Request) *pb.Response
		do                 func(context.Context, *Clerk) error
		is                 error
		parts              []string
	}{
		"a silent shard":        {shard: silent, do: get, is: ErrUnavailable, parts: []string{"shard 1 at 127.0.0.1:1"}},
		"a shard that refuses":  {shard: refuse(pb.Code_CODE_UNAVAILABLE), do: get, is: ErrUnavailable, parts: []string{"shard 1 at 127.0.0.1:1", "its words"}},
		"a final refusal":       {shard: refuse(pb.Code_CODE_INVALID_ARGUMENT), do: get, is: ErrRefused, parts: []string{"shard 1 at 127.0.0.1:1", "its words"}},
		"a silent coordinator":  {coordinator: silent, do: put, is: ErrAborted, parts: []string{"coordinator at 127.0.0.1:1"}},
		"a coordinator's no":    {coordinator: refuse(pb.Code_CODE_UNAVAILABLE), do: put, is: ErrAborted, parts: []string{"coordinator at 127.0.0.1:1", "its words"}},
		"a commit without word": {shard: silent, do: put, is: ErrOutcomeUnknown, parts: []string{"shard 1 at 127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := dialFake(t, &fake{shard: test.shard, coordinator: test.coordinator})
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				err := test.do(ctx, c)
				require.ErrorIs(t, err, test.is)
				for _, part := range test.parts {
					require.ErrorContains(t, err, part)
				}
				t.Log(err)
			})
		})
	}
}
