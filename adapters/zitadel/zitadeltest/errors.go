package zitadeltest

import (
	"fmt"

	"github.com/zitadel/zitadel-go/v3/pkg/client/zitadel/message"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

// fail returns an error as Zitadel's API does: the detail's ID says what it is.
func fail(code codes.Code, id, text string) error {
	failed := status.New(code, fmt.Sprintf("%s (%s)", text, id))
	detailed, err := failed.WithDetails(protoadapt.MessageV1Of(&message.ErrorDetail{Id: id, Message: text}))
	if err != nil {
		return failed.Err()
	}
	return detailed.Err()
}

func userNotFound() error {
	return fail(codes.NotFound, "QUERY-Dfbg2", "User could not be found")
}

func noMembership() error { return fail(codes.NotFound, "AUTHZ-cdgFk", "membership not found") }

func noPermission() error {
	return fail(codes.PermissionDenied, "AUTH-AWfge", "No matching permissions found")
}
