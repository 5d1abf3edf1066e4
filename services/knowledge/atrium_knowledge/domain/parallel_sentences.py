"""The same things said in Chinese and in English, to find out where an encoder puts a language.

Statements and questions of everyday, office, technical, legal and news language, so that their
mean carries the language and not a subject.
"""

from __future__ import annotations

from typing import Final

PARALLEL_SENTENCES: Final[tuple[tuple[str, str], ...]] = (
    ("会议改到下周二上午十点举行。", "The meeting has been moved to ten o'clock next Tuesday."),
    ("这家餐馆周末总是坐满了人。", "This restaurant is always full at the weekend."),
    ("怎样才能重设我的登录口令？", "How can I reset the password of my account?"),
    ("昨天夜里山区下了一场大雪。", "Heavy snow fell in the mountains last night."),
    ("合同自双方签字之日起生效。", "The contract takes effect on the day both parties sign it."),
    ("谁负责检查仓库里的存货？", "Who is responsible for checking the stock in the warehouse?"),
    ("服务器每天凌晨自动备份一次。", "The server is backed up automatically early every morning."),
    ("他的祖父年轻时是一名铁路工人。", "His grandfather worked on the railway as a young man."),
    (
        "申请表要在月底之前交给秘书。",
        "The form must reach the secretary before the end of the month.",
    ),
    ("这座桥是哪一年建成的？", "In which year was this bridge completed?"),
    ("研究人员发现了一种新的海洋鱼类。", "Researchers have discovered a new species of sea fish."),
    ("如果天气好，我们明天去爬山。", "If the weather is fine, we will go hiking tomorrow."),
    ("客户要求退还全部货款。", "The customer demanded a refund of the full price."),
    (
        "员工离职时应当归还门卡和钥匙。",
        "Employees return their door card and keys when they leave.",
    ),
    ("火车晚点了四十分钟。", "The train was forty minutes late."),
    ("这个函数返回列表中最大的元素。", "This function returns the largest element of the list."),
    ("为什么天空看起来是蓝色的？", "Why does the sky look blue?"),
    ("医生建议他每天散步半小时。", "The doctor advised him to walk for half an hour every day."),
    ("市政府计划在河边修建一座公园。", "The city plans to build a park along the river."),
    ("请先阅读说明书，再打开电源。", "Please read the manual before you switch on the power."),
    ("最后一班公共汽车几点开？", "At what time does the last bus leave?"),
    ("公司去年的销售额增长了百分之八。", "The company's sales grew by eight per cent last year."),
    (
        "任何一方都可以书面通知对方终止协议。",
        "Either party may end the agreement by written notice.",
    ),
    ("孩子们在院子里踢足球。", "The children are playing football in the yard."),
    ("数据传输过程必须加密。", "Data must be encrypted while it is transferred."),
    ("在国外可以使用这张银行卡吗？", "Can I use this bank card abroad?"),
    (
        "图书馆周一闭馆，其余时间照常开放。",
        "The library is closed on Mondays and open on all other days.",
    ),
    ("她把旧自行车送给了邻居。", "She gave her old bicycle to a neighbour."),
    ("新规定对小企业有什么影响？", "What do the new rules mean for small businesses?"),
    ("法院驳回了原告的请求。", "The court rejected the plaintiff's claim."),
    ("机器停止运转以后才可以打开盖子。", "Open the cover only after the machine has stopped."),
    (
        "博物馆里陈列着三千多件古代器物。",
        "More than three thousand ancient objects stand in the museum.",
    ),
    (
        "发现错误时，请立即报告值班人员。",
        "If you find a fault, report it to the person on duty at once.",
    ),
    ("从机场到市中心要多长时间？", "How long does it take from the airport to the city centre?"),
    ("经理批准了这笔采购费用。", "The manager approved the cost of the purchase."),
    ("地震造成多处房屋倒塌。", "The earthquake caused many houses to collapse."),
    (
        "项目分为设计、开发和测试三个阶段。",
        "The project has three phases: design, development and testing.",
    ),
    ("我忘了带雨伞，全身都湿透了。", "I forgot my umbrella and got soaked to the skin."),
    ("参加培训的人需要自带电脑吗？", "Do people who attend the course have to bring a computer?"),
    ("这种药一天吃三次，饭后服用。", "Take this medicine three times a day after meals."),
    ("议会昨天通过了新的环境法。", "Parliament passed a new environmental law yesterday."),
    ("打印机没有纸了，请换一台试试。", "The printer has run out of paper; please try another one."),
    ("谁写了这首诗？", "Who wrote this poem?"),
    (
        "保修期内免费更换损坏的零件。",
        "Broken parts are replaced free of charge during the warranty.",
    ),
    ("农民们正在田里收割小麦。", "The farmers are harvesting wheat in the fields."),
    ("用户可以随时删除自己的资料。", "Users may delete their data at any time."),
    ("这台洗衣机要多少钱？", "How much does this washing machine cost?"),
    ("董事会任命了新的财务负责人。", "The board has appointed a new head of finance."),
    ("蜜蜂靠舞蹈告诉同伴花在哪里。", "Bees tell each other by dancing where the flowers are."),
    ("系统在升级期间无法访问。", "The system cannot be reached while it is being upgraded."),
    ("我应该向谁提出投诉？", "To whom should I address a complaint?"),
    ("球队在最后一分钟攻入了制胜的一球。", "The team scored the winning goal in the last minute."),
    (
        "租金每季度支付一次，须提前五天汇款。",
        "The rent is due every quarter, five days in advance.",
    ),
    (
        "老师让学生把答案写在黑板上。",
        "The teacher asked the pupils to write the answer on the board.",
    ),
    ("哪些文件需要长期保存？", "Which documents have to be kept for a long time?"),
    ("工厂采用了节约用水的新工艺。", "The factory has adopted a new process that saves water."),
    (
        "候选人应当熟悉至少一门编程语言。",
        "Candidates should know at least one programming language.",
    ),
    (
        "夏天这里的白天很长，夜晚很短。",
        "In summer the days here are long and the nights are short.",
    ),
    ("电话没有人接，我留了言。", "Nobody answered the phone, so I left a message."),
    ("怎么把照片从手机传到电脑上？", "How do I copy photos from my phone to my computer?"),
    ("双方同意对谈判内容保密。", "Both sides agreed to keep the negotiations confidential."),
    (
        "这条河流经三个国家，最后注入大海。",
        "The river runs through three countries before it reaches the sea.",
    ),
    ("迟到的货物由供应商承担运费。", "The supplier pays the freight for goods that arrive late."),
    ("他们打算什么时候搬进新家？", "When do they plan to move into their new home?"),
)
