package metadata

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/viewline/viewline/replication/sessions"
)

// Client asks a group of Trees behind sessions. Its methods may be called from many goroutines. Each returns one of the
// errors of this package when the tree refused, and otherwise what sessions.Client.Do says: with a context that ended
// the outcome may be unknown, and is so only with a *sessions.UnknownError.
type Client struct{ session *sessions.Client }

// NewClient makes a client that reaches the group's primary by propose.
func NewClient(propose sessions.Proposer) (*Client, error) {
	session, err := sessions.NewClient(propose, sessions.ClientOptions{})
	return &Client{session: session}, err
}

// Create makes a key, whose parent has to be there.
func (c *Client) Create(ctx context.Context, key, value string) error {
	_, err := c.do(ctx, request{Kind: "create", Key: key, Value: value})
	return err
}

// Set replaces the value of a key that is there.
func (c *Client) Set(ctx context.Context, key, value string) error {
	_, err := c.do(ctx, request{Kind: "set", Key: key, Value: value})
	return err
}

// Get returns a key's value.
func (c *Client) Get(ctx context.Context, key string) (string, error) {
	answer, err := c.do(ctx, request{Kind: "get", Key: key})
	return answer.Value, err
}

// List returns the names one level below a key, in order.
func (c *Client) List(ctx context.Context, key string) ([]string, error) {
	answer, err := c.do(ctx, request{Kind: "list", Key: key})
	return answer.Children, err
}

// Remove removes a key that has no children.
func (c *Client) Remove(ctx context.Context, key string) error {
	_, err := c.do(ctx, request{Kind: "remove", Key: key})
	return err
}

func (c *Client) do(ctx context.Context, asked request) (result, error) {
	operation, err := json.Marshal(asked)
	if err != nil {
		return result{}, fmt.Errorf("metadata: %w", err)
	}
	reply, err := c.session.Do(ctx, operation)
	if err != nil {
		return result{}, err
	}
	var answer result
	if err := json.Unmarshal(reply.Value, &answer); err != nil {
		return result{}, fmt.Errorf("metadata: answer: %w", err)
	}
	if known := refusals(); answer.Refused > 0 && answer.Refused < len(known) {
		return result{}, fmt.Errorf("%w: %s %s", known[answer.Refused], asked.Kind, asked.Key)
	}
	return answer, nil
}
