"""Chat logs of servers that share a database: each keeps and ships what was published on it, over a hand-over, too."""

import clients
from crowd import Folders, Hall, Speaker, id_of, ids, settle, talk_together


def test_each_server_logs_what_is_published_on_it(nodes):
    hall = Hall(nodes[0], clients.ivschat(nodes[0]), kinds=["cloudwatch-logs"])
    speakers = [Speaker(hall.room) for _ in nodes]
    for node, speaker in zip(nodes, speakers):
        talk_together(node, [speaker], times=10)
    nodes[0].hand_over()
    talk_together(nodes[0], speakers[:1], times=10)
    for node, speaker in zip(nodes, speakers):

        def all_of_its_own():
            assert ids(Folders(node).stream("chat-logs", id_of(hall.room))) == speaker.published

        settle(all_of_its_own)
