"""A correction that was rejected stays so, whatever somebody writes into its document."""

import pytest

from app.credits.corrections.corrections import CorrectionClosed, Corrections, Proposal
from app.kit.errors import Unavailable
from app.kit.money import credits
from app.kit.stores.documents import Delete, Replace
from support.clock import SeededIds
from support.credits_world import CreditsWorld
from support.memory import MemoryDocuments


@pytest.fixture
def corrections(world: CreditsWorld) -> Corrections:
    return Corrections(world.documents, world.clock, SeededIds(), world.credits, world.archive)


class TestARejection:
    @pytest.mark.parametrize("deleted", [False, True])
    def test_holds_when_somebody_puts_the_proposal_back(
        self, world: CreditsWorld, corrections: Corrections, deleted: bool
    ) -> None:
        """As they were, with the signature of when they were proposed."""
        world.credits.account("alice")
        id = str(corrections.propose(Proposal("alice", "goodwill", credits(5)), "root")["id"])
        proposed = world.documents.get(f"corrections/{id}")
        assert proposed is not None
        corrections.reject(id, "ada")
        if deleted:
            world.documents.commit([Delete(proposed.path)])
        world.documents.commit([Replace(proposed.path, proposed.fields)])
        with pytest.raises(CorrectionClosed):
            corrections.approve(id, "second")
        assert world.audit("alice").balance == credits(1000)

    def test_holds_when_the_proposal_is_put_back_while_it_is_approved(
        self, world: CreditsWorld, corrections: Corrections
    ) -> None:
        """The archive is asked before the commit, about the proposal that was read then and about no other."""
        world.credits.account("alice")
        documents = world.documents
        assert isinstance(documents, MemoryDocuments)
        id = str(corrections.propose(Proposal("alice", "goodwill", credits(5)), "root")["id"])
        proposed = documents.get(f"corrections/{id}")
        assert proposed is not None

        def put_back(_: object) -> None:
            documents.before_commit.clear()
            corrections.reject(id, "ada")
            documents.commit([Replace(proposed.path, proposed.fields)])

        documents.before_commit.append(put_back)
        with pytest.raises(CorrectionClosed):
            corrections.approve(id, "second")
        assert world.audit("alice").balance == credits(1000)

    def test_that_was_cut_off_holds_and_can_be_repeated(self, world: CreditsWorld, corrections: Corrections) -> None:
        world.credits.account("alice")
        id = str(corrections.propose(Proposal("alice", "goodwill", credits(5)), "root")["id"])
        documents = world.documents
        assert isinstance(documents, MemoryDocuments)

        def away(_: object) -> None:
            documents.before_commit.clear()
            raise Unavailable("the store does not answer")

        documents.before_commit.append(away)
        with pytest.raises(Unavailable):
            corrections.reject(id, "ada")
        with pytest.raises(CorrectionClosed):
            corrections.approve(id, "second")
        assert corrections.reject(id, "second")["state"] == "rejected"
