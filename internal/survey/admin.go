package survey

import (
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// askAdmin asks the node at an address one thing, over a connection of its own.
func askAdmin[T any](address string, dial []grpc.DialOption, ask func(pb.AdminServiceClient) (T, error)) (answer T, err error) {
	options := append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, dial...)
	connection, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		return answer, fmt.Errorf("survey: %w", err)
	}
	defer func() { err = errors.Join(err, connection.Close()) }()
	answer, err = ask(pb.NewAdminServiceClient(connection))
	if err != nil {
		return answer, fmt.Errorf("survey: %s: %w", address, err)
	}
	return answer, nil
}
